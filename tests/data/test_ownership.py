"""Who may write what of an execution, and what was asked for meanwhile: one example for every rule."""

from __future__ import annotations

import pytest

from autogpt_server.data.controls import Controls
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.leases import Lease, Leases
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.data.records import Ending, Record, recorder
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.make_graph import make_graph, store_graph
from tests.odd_blocks import RecordingBlock

REGISTRY = BlockRegistry([RecordingBlock])
COMPLETED, PAUSED, QUEUED = ExecutionStatus.COMPLETED, ExecutionStatus.PAUSED, ExecutionStatus.QUEUED
RUNNING, TERMINATED = ExecutionStatus.RUNNING, ExecutionStatus.TERMINATED


class Stage:
    """A graph, and an execution of it that runs under a lease."""

    def __init__(self, database: Database) -> None:
        self.database, self.queue, self.leases = database, ExecutionQueue(database), Leases(database)
        self.controls, self.executions = Controls(database), Executions(database)
        self.graph: Graph = make_graph(REGISTRY, {"a": ("RecordingBlock", {})})
        store_graph(database, REGISTRY, self.graph)
        self.lease = self.leases.register("here", 1)
        self.id = self.accept()
        self.claim(self.lease)

    def accept(self, parent: str | None = None) -> str:
        depth = 0 if parent is None else 1
        new = NewExecution(
            new_id(), self.graph.id, 1, DEFAULT_USER_ID, "{}", parent_execution_id=parent, depth=depth
        )  # fmt: skip
        with self.database.write() as c:
            self.queue.accept(c, [[new]])
        return new.id

    def claim(self, lease: Lease) -> int:
        (claimed,) = self.queue.claim(lease, 5)
        assert claimed.id == self.id
        return claimed.attempt

    def end(self, lease: Lease, attempt: int) -> bool:
        record = Record(self.id, attempt, [], Ending(COMPLETED, "{}", "{}", None))
        with self.database.write() as c:
            (is_written,) = recorder(self.database, lease)(c, [record])
        return is_written

    def status(self, execution_id: str) -> ExecutionStatus:
        return self.executions.get(DEFAULT_USER_ID, execution_id).status

    def ask_for(self, what: str) -> None:
        ask = self.controls.stop if what == "stop" else self.controls.pause
        assert ask(DEFAULT_USER_ID, self.id).status is RUNNING


@pytest.fixture
def stage(database: Database) -> Stage:
    return Stage(database)


def test_nobody_ends_what_another_executor_runs(stage: Stage) -> None:
    other = stage.leases.register("here", 2)
    assert not stage.end(other, 1)
    assert stage.status(stage.id) is RUNNING
    assert stage.end(stage.lease, 1)


def test_nobody_ends_a_later_attempt_by_an_earlier_one(stage: Stage) -> None:
    stage.queue.hand_back(stage.lease, [stage.id])
    assert stage.claim(stage.lease) == 2
    assert not stage.end(stage.lease, 1)
    assert stage.status(stage.id) is RUNNING
    assert stage.end(stage.lease, 2)


@pytest.mark.parametrize(("what", "status"), [("stop", TERMINATED), ("pause", PAUSED)])
@pytest.mark.parametrize("how", ["rescue", "hand back", "end of the lease"])
def test_what_was_asked_for_is_done_when_its_executor_gives_it_up(
    stage: Stage, what: str, status: ExecutionStatus, how: str
) -> None:
    stage.ask_for(what)
    if how == "rescue":
        assert stage.leases.rescue(stage.lease, [], max_deaths=3, reason="killed").requeued == 1
    elif how == "hand back":
        stage.queue.hand_back(stage.lease, [stage.id])
    else:
        stage.leases.end(stage.lease)
    assert stage.status(stage.id) is status


@pytest.mark.parametrize(("what", "status"), [("stop", TERMINATED), ("pause", PAUSED), ("nothing", QUEUED)])
def test_a_part_begins_as_what_its_whole_was_asked_for(stage: Stage, what: str, status: ExecutionStatus) -> None:
    if what != "nothing":
        stage.ask_for(what)
    assert stage.status(stage.accept(parent=stage.id)) is status


def test_a_part_of_what_is_over_does_not_start(stage: Stage) -> None:
    assert stage.end(stage.lease, 1)
    assert stage.status(stage.accept(parent=stage.id)) is TERMINATED
