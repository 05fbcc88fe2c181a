from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from autogpt_server.server.api import health as health_route
from autogpt_server.server.executor_watch import ExecutorWatch
from autogpt_server.server.problems import KINDS
from tests.server.access import ENDPOINTS
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_swagger_ui_comes_from_this_server_alone(api: Api):
    page = await api.http.get("/docs")

    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) == 5
    for address in addresses:
        assert address.startswith("/docs/")
        assert (await api.http.get(address)).status_code == 200
    script = (await api.http.get("/docs/start.js")).text
    assert '"/openapi.json"' in script and "validatorUrl: null" in script and "http" not in page.text + script
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "*" not in policy


async def test_assets_are_sent_again_only_when_they_changed(api: Api):
    first = await api.http.get("/docs/assets/swagger-ui.css")
    again = await api.http.get("/docs/assets/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


@pytest.mark.parametrize("name", ["index.html", "swagger-initializer.js", "..%2Fpackage.json", "../package.json", ""])
async def test_other_files_of_the_folder_are_not_served(api: Api, name: str):
    answer = await api.http.get(f"/docs/assets/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_the_root_leads_to_the_documentation(api: Api):
    assert (await api.http.get("/")).headers["location"] == "/docs"


async def test_the_api_describes_every_route_its_body_and_its_problems(api: Api):
    document = (await api.http.get("/openapi.json")).json()

    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert routes == {endpoint.name for endpoint in ENDPOINTS}
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    for operation in operations:
        assert "application/problem+json" in operation["responses"]["default"]["content"]
        assert "422" not in operation["responses"]
    assert all("requestBody" in methods[m] for methods in document["paths"].values() for m in ("put",) if m in methods)
    assert all(kind.type in document["info"]["description"] for kind in KINDS)
    assert _dangling(document) == []


async def test_types_of_problems_are_told_apart():
    assert len({kind.type for kind in KINDS}) == len({(kind.slug, kind.status) for kind in KINDS})


async def test_health_names_the_part_that_does_not_work(api: Api):
    answer = await api.http.get("/api/health")

    health = answer.json()
    assert (answer.status_code, health["status"]) == (503, "unavailable")
    assert health["executors"]["status"] == "unavailable" and health["executors"]["alive"] == 0
    assert health["database"]["status"] == health["query_engine"]["status"] == "ok"
    assert answer.headers["cache-control"] == "no-store"


async def test_health_is_ok_while_an_executor_beats(running: Api):
    health: dict[str, Any] = {}
    async with asyncio.timeout(10):
        while health.get("status") != "ok":
            answer = await running.http.get("/api/health")
            health = answer.json()
            assert answer.status_code == (200 if health["status"] == "ok" else 503)
    assert health["executors"]["alive"] == 1
    assert 0 <= health["executors"]["oldest_beat_seconds"] < 10
    assert health["uptime_seconds"] > 0 and health["version"]


async def test_health_says_which_part_does_not_answer(running: Api, monkeypatch: pytest.MonkeyPatch):
    is_over = asyncio.Event()

    async def look(self: ExecutorWatch) -> list[float]:
        await is_over.wait()
        return []

    monkeypatch.setattr(ExecutorWatch, "look", look)
    monkeypatch.setattr(health_route, "_PATIENCE", 0.1)
    try:
        answer = await running.http.get("/api/health")
    finally:
        # The server's own look waits for it, too.
        is_over.set()
    assert answer.status_code == 503
    assert "the database did not answer within 0.1 s" in answer.json()["problems"]


def _dangling(document: dict[str, Any]) -> list[str]:
    """References that lead nowhere."""
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    found = re.findall(r"'\$ref': '([^']+)'", str(document["paths"]) + str(document["components"]))
    return sorted(set(found) - known)
