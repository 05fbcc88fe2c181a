"""Real executor processes under a real ExecutionManager: side by side, killed, and replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.executor.manager import ExecutionManager
from autogpt_server.executor.running_nodes import read_marks
from autogpt_server.executor.signs_of_life import marks_path
from autogpt_server.model.execution import ExecutionStatus, GraphExecution
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.service.client import close_client, endpoint_to_sync, get_service_client
from autogpt_server.settings import Settings
from tests.executor.conftest import Nodes
from tests.make_graph import make_graph, node_id, store_graph
from tests.odd_blocks import ALL

T = TypeVar("T")


class Managed:
    """A manager in a process of its own, called over RPC."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.registry = load_registry(settings.blocks)
        self.executions = Executions(database)
        self.manager = ExecutionManager(settings)
        self.folder: Path = settings.files_dir / DEFAULT_USER_ID

    def __enter__(self) -> Managed:
        self.manager.__enter__()
        self.client = get_service_client(ExecutionManager, settings=self.settings, port=self.manager.port)
        self.until(lambda: len(self.client.executor_pids()) == self.settings.executor_processes)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run(close_client(self.client))
        self.manager.__exit__(*error)

    def store(self, nodes: Nodes, links: list[str] | None = None) -> Graph:
        graph = make_graph(self.registry, nodes, links)
        store_graph(self.database, self.registry, graph)
        return graph

    def add(self, graph: Graph) -> str:
        return endpoint_to_sync(self.client.add_execution)(graph_id=graph.id, data={})["id"]

    def get(self, execution_id: str) -> GraphExecution:
        return self.executions.get(DEFAULT_USER_ID, execution_id)

    def until(self, condition: Callable[[], T], seconds: float = 30) -> T:
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, "the condition did not come true"
            time.sleep(0.02)
        return value

    def ended(self, execution_id: str) -> GraphExecution:
        self.until(lambda: self.get(execution_id).status.is_final)
        return self.get(execution_id)

    def started(self) -> dict[str, int]:
        """Node execution -> process id, of the gates that have started."""
        return {path.name: int(path.read_text() or 0) for path in (self.folder / "started").glob("*.*[0-9]")}


@pytest.fixture
def managed(settings: Settings, database: Database) -> Iterator[Managed]:
    settings = settings.model_copy(
        update={
            "blocks": tuple(ALL.split(",")),
            "executor_processes": 2,
            "executor_concurrency": 2,
            "executor_lease_seconds": 3.0,
            "drain_seconds": 0.0,
        }
    )
    with Managed(settings, database) as managed:
        yield managed


def test_executions_run_at_the_same_time_in_different_processes(managed: Managed) -> None:
    graph = managed.store({"gate": ("PidBlock", {})})
    ids = [managed.add(graph) for _ in range(4)]
    started = managed.until(lambda: len(managed.started()) == 4 and managed.started())
    assert len(set(started.values())) == 2
    assert set(started.values()) == set(managed.client.executor_pids())
    (managed.folder / "go").write_text("")
    assert {managed.ended(execution_id).status for execution_id in ids} == {ExecutionStatus.COMPLETED}


def test_an_execution_resumes_after_its_executor_was_killed(managed: Managed) -> None:
    graph = managed.store(
        {"first": ("RecordingBlock", {"value": 1}), "gate": ("PidBlock", {}), "last": ("RecordingBlock", {})},
        ["first.value -> gate.value", "gate.value -> last.value"],
    )
    execution_id = managed.add(graph)
    started = managed.until(managed.started)
    (killed,) = started.values()
    # It has told that it started, and may still be at that.
    managed.until(lambda: not read_marks(marks_path(managed.settings, killed)))
    os.kill(killed, signal.SIGKILL)
    (managed.folder / "go").write_text("")

    execution = managed.ended(execution_id)
    # It only waited when its process was killed, so nobody suspects it.
    assert (execution.status, execution.attempt, execution.deaths) == (ExecutionStatus.COMPLETED, 2, 0)
    assert (managed.folder / "runs.txt").read_text().split() == [f"{execution_id}.0", f"{execution_id}.2"]
    nodes = managed.executions.node_executions(execution_id, limit=10).items
    assert [n.sequence for n in nodes] == [1, 2, 3]
    assert nodes[1].output_data[0][1] != killed
    pids = managed.until(lambda: len(managed.client.executor_pids()) == 2 and managed.client.executor_pids())
    assert killed not in pids


def test_a_block_that_ends_its_process_is_given_up_and_its_neighbours_finish(managed: Managed) -> None:
    gate = managed.store({"gate": ("PidBlock", {})})
    neighbours = [managed.add(gate) for _ in range(2)]
    managed.until(lambda: len(managed.started()) == 2)
    bad = managed.ended(managed.add(managed.store({"bad": ("ExitingBlock", {})})))
    assert bad.status is ExecutionStatus.FAILED
    assert "died 3 times" in (bad.error or "")
    assert f"node {node_id('bad')} (ExitingBlock)" in (bad.error or "")
    (node,) = managed.executions.node_executions(bad.id, limit=10).items
    assert (node.node_id, node.status) == (node_id("bad"), ExecutionStatus.FAILED)
    (managed.folder / "go").write_text("")
    assert {managed.ended(n).status for n in neighbours} == {ExecutionStatus.COMPLETED}


def test_a_block_that_never_ends_fails_at_its_limit_and_its_process_is_replaced(managed: Managed) -> None:
    before = set(managed.client.executor_pids())
    # Two run per process: one of them beside the endless one.
    graph = managed.store({"gate": ("PidBlock", {})})
    neighbours = [managed.add(graph) for _ in range(3)]
    managed.until(lambda: len(managed.started()) == 3)
    endless = managed.ended(managed.add(managed.store({"endless": ("EndlessBlock", {})})))
    assert endless.status is ExecutionStatus.FAILED
    assert "longer than its limit of 0.5 s" in (endless.error or "")
    managed.until(lambda: len(managed.client.executor_pids()) == 2 and set(managed.client.executor_pids()) != before)
    (managed.folder / "go").write_text("")
    assert {managed.ended(n).status for n in neighbours} == {ExecutionStatus.COMPLETED}
    assert {managed.get(n).deaths for n in neighbours} == {0}


def test_a_restart_finishes_what_was_accepted(managed: Managed) -> None:
    graph = managed.store({"gate": ("PidBlock", {})})
    ids = [managed.add(graph) for _ in range(6)]
    managed.until(lambda: len(managed.started()) == 4)
    managed.manager.stop()
    assert {managed.get(execution_id).status for execution_id in ids} == {ExecutionStatus.QUEUED}
    (managed.folder / "go").write_text("")
    with Managed(managed.settings, managed.database) as again:
        assert {again.ended(execution_id).status for execution_id in ids} == {ExecutionStatus.COMPLETED}


def test_text_that_no_database_stores_is_refused_by_the_name_of_its_argument(managed: Managed) -> None:
    for bad in ("a\0b", "a\ud800b"):
        body = json.dumps({"graph_id": bad, "data": {"deep": [{"er": bad}]}})
        answer = httpx.post(
            f"http://127.0.0.1:{managed.manager.port}/add_execution",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 400
        told = answer.json()
        assert told["type"] == "InvalidError"
        assert {problem["path"] for problem in told["args"][1]} == {"graph_id", "data.deep[0].er"}


@pytest.mark.parametrize("argument", ["priority", "graph_version"])
@pytest.mark.parametrize("wrong", [True, "1", 1.5])
def test_what_is_no_whole_number_is_refused_by_the_name_of_its_argument(
    managed: Managed, argument: str, wrong: object
) -> None:
    graph = managed.store({"a": ("ValueBlock", {"input": 1})})
    answer = httpx.post(
        f"http://127.0.0.1:{managed.manager.port}/add_execution",
        json={"graph_id": graph.id, "data": {}, argument: wrong},
        timeout=20,
        trust_env=False,
    )
    assert answer.status_code == 422
    assert argument in answer.json()["detail"][0]["loc"]


def test_ids_are_read_in_any_case(managed: Managed) -> None:
    graph = managed.store({"a": ("ValueBlock", {"input": 1})})
    add, cancel = map(endpoint_to_sync, (managed.client.add_execution, managed.client.cancel_execution))
    execution_id = add(graph_id=graph.id.upper(), data={})["id"]
    assert managed.ended(execution_id).status is ExecutionStatus.COMPLETED
    assert cancel(execution_id=execution_id.upper()) is ExecutionStatus.COMPLETED
