"""Every way into the server asks for a key, and what stays open is closed when the key is revoked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import uvicorn
import websockets
from prisma_fixtures import running_engine, settings_for

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.data.database import Database
from autogpt_server.model.principal import Role, Scope
from autogpt_server.server.rest import create_app
from autogpt_server.service.http_server import http_config
from autogpt_server.service.listen import listen
from tests.make_graph import graph_json, make_graph
from tests.migrated_database import migrated_database

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Reachable:
    """A server that listens on all addresses, and somebody's key."""

    def __init__(self, port: int, accounts: Accounts, graph_id: str, key: str, key_id: str) -> None:
        self.port, self.accounts, self.graph_id, self.key, self.key_id = port, accounts, graph_id, key, key_id
        self.url = f"http://127.0.0.1:{port}"

    def http(self, key: str | None, **headers: str) -> httpx.AsyncClient:
        bearer = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=bearer | headers)

    async def submit(self) -> str:
        async with self.http(self.key) as http:
            return (await http.post(f"/api/graphs/{self.graph_id}/execute", json={})).json()["id"]


@pytest_asyncio.fixture(loop_scope="module")
async def reachable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reachable]:
    request.param = "sqlite"
    with migrated_database(request, tmp_path) as url:
        settings = settings_for(tmp_path, url).model_copy(update={"host": "0.0.0.0"})
        with running_engine(settings):
            app = create_app(settings)
            listener = listen("0.0.0.0", 0, port_setting="", host_setting="")
            server = uvicorn.Server(http_config(app))
            async with app.router.lifespan_context(app):
                database = Database.from_settings(settings)
                accounts = Accounts(database)
                user = accounts.add_user("ann@example.org", None, "UTC", Role.MEMBER)
                key, text = accounts.add_key(user, "x")
                serving = asyncio.create_task(server.serve([listener]))
                port = listener.getsockname()[1]
                graph = graph_json(make_graph(app.state.services.registry, {"a": ("ValueBlock", {"input": 1})}))
                async with httpx.AsyncClient(headers={"X-API-Key": text}) as http:
                    answer = await http.post(f"http://127.0.0.1:{port}/api/graphs", json=graph)
                yield Reachable(port, accounts, answer.json()["id"], text, key.id)
                server.should_exit = True
                await asyncio.wait_for(serving, 20)
                database.close()


async def test_every_way_in_asks_for_a_key(reachable: Reachable):
    execution_id = await reachable.submit()
    async with reachable.http(None) as http:
        for method, path in (
            ("POST", f"/api/graphs/{reachable.graph_id}/execute"),
            ("GET", f"/api/executions/{execution_id}/events"),
            ("GET", f"/api/executions/{execution_id}/events?after=1"),
            ("GET", "/metrics"),
            ("GET", "/api/metrics"),
            ("GET", "/api/no/such/path"),
        ):
            answer = await http.request(method, path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
            assert "autogpt key add" in answer.json()["detail"]
        assert (await http.get("/api/health")).json().keys() == {"status"}
        for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css"):
            assert (await http.get(path)).status_code == 200, path
    for path in ("/ws", "/api/ws", "/ws?token=agk_nothing"):
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"ws://127.0.0.1:{reachable.port}{path}")
    async with reachable.http(reachable.key) as http:
        assert "processes" in (await http.get("/api/health")).json()
        assert (await http.get("/metrics")).status_code == 200


async def test_other_names_lead_in_with_a_key(reachable: Reachable):
    async with reachable.http(reachable.key, Host="agents.example.org") as http:
        assert (await http.get("/api/graphs")).status_code == 200
        assert (await http.post(f"/api/graphs/{reachable.graph_id}/execute", json={})).status_code == 202
        foreign = await http.get("/api/graphs", headers={"Origin": "https://elsewhere.example.org"})
        assert foreign.status_code == 403


async def test_the_quick_lane_asks_what_the_key_allows(reachable: Reachable):
    user = reachable.accounts.users.find_by_email("ann@example.org")
    assert user is not None
    _, reading = reachable.accounts.add_key(user, "reads", [Scope.READ])
    async with reachable.http(reading) as http:
        answer = await http.post(f"/api/graphs/{reachable.graph_id}/execute", json={})
        assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed")


async def test_streams_and_websockets_end_with_their_key(reachable: Reachable):
    execution_id = await reachable.submit()
    socket = await websockets.connect(f"ws://127.0.0.1:{reachable.port}/ws?token={reachable.key}")
    await socket.send(json.dumps({"method": "subscribe", "data": {"execution_id": execution_id}}))
    assert json.loads(await asyncio.wait_for(socket.recv(), 10))
    async with reachable.http(reachable.key) as http, asyncio.timeout(20):
        async with http.stream("GET", f"/api/executions/{execution_id}/events") as events:
            assert events.status_code == 200
            lines = events.aiter_lines()
            await anext(lines)
            reachable.accounts.keys.revoke(reachable.key_id, None)
            with pytest.raises((httpx.RemoteProtocolError, StopAsyncIteration)):
                while True:
                    await anext(lines)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                await socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        assert (await http.get("/api/graphs")).status_code == 401
