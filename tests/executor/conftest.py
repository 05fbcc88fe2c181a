"""A worker in the test's own loop, with the library's blocks and the odd ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.executor.submit import Submitter
from autogpt_server.executor.worker import Worker
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.execution import GraphExecution, NodeExecution
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.settings import Settings
from tests import node_blocks, odd_blocks
from tests.make_graph import Nodes, make_graph, node_id, store_graph

T = TypeVar("T")


@dataclass
class Bench:
    """Stores graphs, submits them, and waits for their ends."""

    settings: Settings
    database: Database
    registry: BlockRegistry
    submitter: Submitter
    executions: Executions
    #: What executes, where something does.
    running: Worker | None = None

    def store(self, nodes: Nodes, links: list[str] | None = None, policy: dict[str, Any] | None = None) -> Graph:
        graph = make_graph(self.registry, nodes, links, policy=policy)
        store_graph(self.database, self.registry, graph)
        return graph

    async def submit(self, graph: Graph, inputs: dict[str, Any] | None = None) -> str:
        execution_id, _ = await self.submitter.submit(DEFAULT_USER_ID, graph.id, inputs or {})
        return execution_id

    async def until(self, condition: Callable[[], T], seconds: float = 20) -> T:
        """Wait until a look at the database says so."""
        async with asyncio.timeout(seconds):
            while True:
                if value := condition():
                    return value
                await asyncio.sleep(0.01)

    async def pause(self, execution_id: str) -> GraphExecution:
        """Ask for a pause, and wait until the executor has heard: what ends before lets the next node start."""
        asked = await self.submitter.pause(DEFAULT_USER_ID, execution_id)
        assert self.running is not None
        executor = self.running._active.get(execution_id)
        await self.until(lambda: executor is None or executor._is_pausing)
        return asked

    async def ended(self, execution_id: str) -> GraphExecution:
        """Wait for the final status."""
        await self.until(lambda: self.executions.get(DEFAULT_USER_ID, execution_id).status.is_final)
        return self.executions.get(DEFAULT_USER_ID, execution_id)

    async def execute(
        self, nodes: Nodes, links: list[str] | None = None, inputs: dict[str, Any] | None = None
    ) -> GraphExecution:
        return await self.ended(await self.submit(self.store(nodes, links), inputs))

    def node(self, execution: GraphExecution | str, name: str) -> NodeExecution:
        """The one execution of a node."""
        (node,) = (one for one in self.nodes(execution) if one.node_id == node_id(name))
        return node

    def nodes(self, execution: GraphExecution | str) -> list[NodeExecution]:
        execution_id = execution if isinstance(execution, str) else execution.id
        return self.executions.node_executions(execution_id, limit=10_000).items

    def worker(self, **changes: Any) -> Worker:
        settings = self.settings.model_copy(update=changes)
        return Worker(settings, self.registry, self.database, quarantine=False)


@pytest.fixture
async def bench(settings: Settings, database: Database) -> AsyncIterator[Bench]:
    registry = load_registry([*odd_blocks.ALL.split(","), *node_blocks.ALL.split(",")])
    submitter = Submitter(settings, database)
    yield Bench(settings, database, registry, submitter, Executions(database))
    await submitter.close()


@pytest.fixture
async def running(bench: Bench) -> AsyncIterator[Bench]:
    """The bench with a worker that runs until the end of the test."""
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    bench.running = worker
    yield bench
    worker.stop()
    await asyncio.wait_for(task, 20)
