"""The application in the test's own loop, on a running engine and a migrated database of each kind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from prisma_fixtures import running_engine, settings_for

from autogpt_server.executor.worker import Worker
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.ids import new_id
from autogpt_server.server.rest import create_app
from autogpt_server.server.services import Services
from autogpt_server.service.http_server import http_config
from autogpt_server.settings import Settings
from tests.make_graph import graph_json, make_graph
from tests.migrated_database import migrated_database
from tests.odd_blocks import ALL

Nodes = dict[str, tuple[str, dict[str, Any]]]

#: A constant that goes out as "text".
HELLO: tuple[Nodes, list[str]] = (
    {
        "a": ("ValueBlock", {"input": "Hello"}),
        "out": ("AgentOutputBlock", {"name": "text"}),
    },
    ["a.output -> out.value"],
)


@dataclass
class Api:
    """A client of the application, and what stands behind it."""

    app: FastAPI
    http: httpx.AsyncClient
    settings: Settings
    #: What executes, where something does.
    worker: Worker | None = None

    @property
    def services(self) -> Services:
        return self.app.state.services

    @property
    def registry(self) -> BlockRegistry:
        return self.services.registry

    async def call(self, method: str, path: str, status: int, json: Any = None, **more: Any) -> Any:
        """Send a request, check the status, and return the JSON of the answer."""
        answer = await self.http.request(method, f"/api{path}", json=json, **more)
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status
        if status == 422:
            for error in answer.json()["errors"]:
                assert error["path"] and error["message"] and error.get("fix"), error
            assert answer.json()["errors"]
        return answer.json() if answer.content else None

    async def refusal(self, method: str, path: str, status: int = 422, **more: Any) -> tuple[str, str]:
        """Send a request that must be refused; returns the place and the message of the first problem."""
        problem = await self.call(method, path, status, **more)
        return problem["errors"][0]["path"], problem["errors"][0]["message"]

    def graph(self, nodes: Nodes = HELLO[0], links: list[str] | None = None) -> dict[str, Any]:
        """A graph as a client sends it; by default two nodes, the second an output."""
        return graph_json(make_graph(self.registry, nodes, HELLO[1] if nodes is HELLO[0] else links))

    async def stored(self, nodes: Nodes = HELLO[0], links: list[str] | None = None) -> str:
        """Store a graph and return its id."""
        return (await self.call("POST", "/graphs", 201, json=self.graph(nodes, links)))["id"]

    async def ended(self, execution_id: str) -> dict[str, Any]:
        """Wait for the end of an execution and return it."""
        async with asyncio.timeout(20):
            while True:
                execution = await self.call("GET", f"/executions/{execution_id}", 200)
                if execution["status"] in ("COMPLETED", "FAILED", "TERMINATED"):
                    return execution
                await asyncio.sleep(0.01)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def server_settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running engine on a migrated database of each kind, which all tests of the server share."""
    folder = tmp_path_factory.mktemp("server")
    with migrated_database(request, folder) as url:
        settings = settings_for(folder, url, blocks=ALL)
        with running_engine(settings):
            yield settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(server_settings: Settings) -> AsyncIterator[Api]:
    """The application; tests that use it run on its loop: ``pytestmark = pytest.mark.asyncio(loop_scope="module")``."""
    app = create_app(server_settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        yield Api(app, http, server_settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(api: Api) -> AsyncIterator[int]:
    """A real port behind which the application answers, in the loop of the tests."""
    server = uvicorn.Server(http_config(api.app))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await asyncio.wait_for(serving, 20)


@pytest_asyncio.fixture(loop_scope="module")
async def running(api: Api) -> AsyncIterator[Api]:
    """The application with a worker that executes until the end of the test."""
    # Long leases: a beat that is under way at the end would hold a connection beyond it.
    settings = api.settings.model_copy(update={"drain_seconds": 0, "executor_lease_seconds": 600})
    worker = Worker(settings, api.registry, api.services.database, quarantine=False)
    task = asyncio.create_task(worker.run(lambda lease: None))
    api.worker = worker
    yield api
    worker.stop()
    await asyncio.wait_for(task, 20)


@pytest.fixture
def unknown_id() -> str:
    return new_id()
