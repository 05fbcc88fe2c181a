"""Files over REST: sent piece by piece, fetched whole, in ranges and by links."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from autogpt_server.server.api import files as files_api
from autogpt_server.storage.store import Store
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def upload(api: Api, data: Any = b"Hello, world", status: int = 201, **more: Any) -> dict[str, Any]:
    query = more.pop("params", {"name": "hello.txt"})
    answer = await api.http.post("/api/files", content=data, params=query, **more)
    assert answer.status_code == status, answer.text
    return answer.json()


async def content(api: Api, file: dict[str, Any], **headers: str) -> httpx.Response:
    return await api.http.get(f"/api/files/{file['id']}/content", headers=headers)


async def test_a_file_comes_in_pieces_and_goes_out_as_it_was(api: Api):
    pieces = [bytes([n]) * 700_000 for n in range(5)]

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    file = await upload(api, stream(), params={"name": "Grüße 1.bin"}, headers={"Content-Type": "application/x-thing"})
    whole = b"".join(pieces)
    assert (file["size"], file["mime_type"]) == (len(whole), "application/x-thing")
    assert file["hash"] == hashlib.sha256(whole).hexdigest()
    answer = await content(api, file)
    assert answer.content == whole
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe%201.bin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await api.call("GET", f"/files/{file['id']}", 200)) == file
    assert (await api.call("GET", "/files?limit=1", 200))["items"] == [file]


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("bytes=0-4", 206, b"Hello"), ("bytes=7-", 206, b"world"), ("bytes=-5", 206, b"world"),
        ("bytes=0-99", 206, None),
        ("bytes=0-1,3-4", 200, None), ("lines=1-2", 200, None), ("bytes=-", 200, None),
    ],
)  # fmt: skip
async def test_a_part_is_fetched_by_its_range(api: Api, header: str, status: int, expected: bytes | None):
    answer = await content(api, await upload(api), Range=header)
    assert (answer.status_code, answer.content) == (status, expected or b"Hello, world")
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_what_the_client_has_is_not_sent_again(api: Api):
    file = await upload(api)
    tag = (await content(api, file)).headers["etag"]
    again = await content(api, file, **{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert (await content(api, file, Range="bytes=12-")).status_code == 422
    empty = await upload(api, b"")
    assert (await content(api, empty, Range="bytes=0-1")).content == b""


async def test_a_link_leads_to_the_file_until_it_expires(api: Api, monkeypatch: pytest.MonkeyPatch):
    file = await upload(api)
    link = await api.call("POST", f"/files/{file['id']}/link", 201, json={"expires_in_seconds": 60})
    assert (await api.http.get(link["url"])).content == b"Hello, world"
    url = httpx.URL(link["url"])
    other = await upload(api, b"other")
    for wrong in (
        url.copy_set_param("expires", int(url.params["expires"]) + 1),
        url.copy_set_param("signature", "x" + url.params["signature"][1:]),
        url.copy_with(path=f"/api/files/{other['id']}/content"),
        url.copy_with(path="/api/files/nothing/content"),
    ):
        assert (await api.http.get(str(wrong))).status_code == 401, wrong
    monkeypatch.setattr(files_api.time, "time", lambda: int(url.params["expires"]))
    assert (await api.http.get(link["url"])).status_code == 401
    monkeypatch.undo()
    await api.call("DELETE", f"/files/{file['id']}", 204)
    assert (await api.http.get(link["url"])).status_code == 401
    path, _ = await api.refusal("POST", f"/files/{other['id']}/link", json={"expires_in_seconds": 10**9})
    assert path == "expires_in_seconds"


async def test_what_is_wrong_is_refused_and_nothing_stays(api: Api):
    before = (await api.call("GET", "/files", 200))["items"]
    assert (await upload(api, b"x", 422, params={"name": "a/b"}))["errors"][0]["path"] == "name"
    assert (await upload(api, b"x", 422, params={}))["errors"][0]["path"] == "name"
    wrong = await upload(api, b"%PDF-1.7\n", 422, headers={"Content-Type": "image/png"})
    assert wrong["errors"][0]["path"] == "Content-Type"
    assert (await api.call("GET", "/files", 200))["items"] == before


async def test_a_storage_that_refuses_is_told_and_nothing_stays(api: Api, monkeypatch: pytest.MonkeyPatch):
    file = await upload(api)
    before = (await api.call("GET", "/files", 200))["items"]

    def refuse(*_: object) -> None:
        raise Unavailable("the storage refused: no rights")

    monkeypatch.setattr(Store, "write", refuse)
    monkeypatch.setattr(Store, "read", refuse)
    assert "no rights" in (await upload(api, b"x", 503))["detail"]
    assert (await content(api, file)).status_code == 503
    assert (await api.call("GET", "/files", 200))["items"] == before


async def test_a_file_is_renamed_and_expires(api: Api):
    file = await upload(api, params={"name": "a.txt", "expires_in_seconds": "60"})
    assert file["expires_at"] is not None
    path = f"/files/{file['id']}"
    changed = await api.call("PATCH", path, 200, json={"name": "b.txt", "expires_at": None})
    assert (changed["name"], changed["expires_at"]) == ("b.txt", None)
    past = (clock.now() - timedelta(hours=2)).isoformat()
    await api.call("PATCH", path, 404, json={"expires_at": past})
    await api.call("GET", path, 404)
    assert (await content(api, file)).status_code == 404
    dry = await api.call("POST", "/files/cleanup?dry_run=true", 200)
    assert (dry["is_dry_run"], dry["deleted"]) == (True, 0)
    done = await api.call("POST", "/files/cleanup", 200)
    assert done["failed"] == 0


async def test_a_file_travels_between_nodes(running: Api):
    nodes = {
        "store": ("StoreFileBlock", {"name": "report.csv", "content": "a,b\n1,2\n", "mime_type": "text/csv"}),
        "read": ("ReadStoredFileBlock", {}),
        "text": ("AgentOutputBlock", {"name": "text"}),
        "file": ("AgentOutputBlock", {"name": "file"}),
    }
    links = ["store.file -> read.file", "read.content -> text.value", "store.file -> file.value"]
    graph_id = await running.stored(nodes, links)
    started = await running.call("POST", f"/graphs/{graph_id}/execute", 202, json={})
    ended = await running.ended(started["id"])
    assert ended["outputs"]["text"] == ["a,b\n1,2\n"]
    (value,) = ended["outputs"]["file"]
    file = await running.call("GET", f"/files/{value['$file']}", 200)
    assert (file["name"], file["mime_type"], file["size"]) == ("report.csv", "text/csv", 8)
    assert file["node_execution_id"].startswith(started["id"])
    # No text enters a pin for a file.
    wrong = running.graph({"a": ("ValueBlock", {"input": 1}), "read": ("ReadStoredFileBlock", {"file": "a.txt"})}, [])
    await running.call("POST", "/graphs", 422, json=wrong)
