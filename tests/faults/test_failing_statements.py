"""The n-th statement of a transaction fails, for every n: all of it is undone, and nothing else has happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autogpt_server.data.connection import Connection
from autogpt_server.data.controls import Controls
from autogpt_server.data.database import Database
from autogpt_server.data.leases import Lease, Leases, Suspect
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.data.records import Ending, OutputRow, Record, recorder
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.make_graph import make_graph, node_id, store_graph
from tests.odd_blocks import RecordingBlock

REGISTRY = BlockRegistry([RecordingBlock])
TABLES = ("AgentGraphExecution", "AgentNodeExecution", "AgentNodeOutput", "Executor")


class StatementFailed(Exception):
    pass


class Surroundings:
    """A graph, an executor, two executions of it that run with a node each, and one that waits."""

    def __init__(self, database: Database) -> None:
        self.database = database
        graph = make_graph(REGISTRY, {"a": ("RecordingBlock", {})})
        store_graph(database, REGISTRY, graph)
        self.graph_id = graph.id
        self.queue, self.leases, self.controls = ExecutionQueue(database), Leases(database), Controls(database)
        self.lease = self.leases.register("here", 1)
        self.accept(2)
        self.running = [one.id for one in self.queue.claim(self.lease, 5)]
        for id_ in self.running:
            self.record(Record(id_, 1, [self.row(id_, ends=False)]))
        self.part = self.accept(1, parent=self.running[0])[0]
        self.waiting = self.accept(1)[0]

    def accept(self, count: int, parent: str | None = None) -> list[str]:
        depth = 0 if parent is None else 1
        batch = [
            NewExecution(new_id(), self.graph_id, 1, DEFAULT_USER_ID, "{}", parent_execution_id=parent, depth=depth)
            for _ in range(count)
        ]
        with self.database.write() as c:
            self.queue.accept(c, [batch])
        return [one.id for one in batch]

    def record(self, *records: Record) -> None:
        with self.database.write() as c:
            assert all(recorder(self.database, self.lease)(c, list(records)))

    @staticmethod
    def row(id_: str, *, ends: bool) -> NodeRow:
        status, now = (ExecutionStatus.COMPLETED if ends else ExecutionStatus.RUNNING), now_ms()
        row = NodeRow(f"{id_}.0", node_id("a"), status, "{}", 1, now, now)
        if ends:
            row.sequence, row.outputs, row.ended_ms = 1, "[]", now
        return row

    def record_ends(self) -> None:
        end = Ending(ExecutionStatus.COMPLETED, "{}", "{}", None)
        failed = Ending(ExecutionStatus.FAILED, "{}", "{}", "broken")
        first, second = self.running
        self.record(
            Record(first, 1, [self.row(first, ends=True)], end, [OutputRow(1, 0, f"{first}.0", "value", "1")]),
            Record(second, 1, [], failed),
        )

    def everything(self) -> list[tuple[Any, ...]]:
        with self.database.read() as c:
            return sorted(
                ((table, *map(str, row)) for table in TABLES for row in c.execute(f'SELECT * FROM "{table}"')),
            )


def _suspects(s: Surroundings) -> list[Suspect]:
    return [Suspect(f"{s.running[0]}.0", node_id("a"), "RecordingBlock")]


OPERATIONS: dict[str, Callable[[Surroundings], object]] = {
    "accept": lambda s: s.accept(3, parent=s.running[1]),
    "claim": lambda s: s.queue.claim(s.lease, 5),
    "claim at once": lambda s: s.queue.claim(s.lease, 5, expects_some=True),
    "record": lambda s: s.record_ends(),
    "stop": lambda s: s.controls.stop(DEFAULT_USER_ID, s.running[0]),
    "stop what waits": lambda s: s.controls.stop(DEFAULT_USER_ID, s.waiting),
    "pause": lambda s: s.controls.pause(DEFAULT_USER_ID, s.running[0]),
    "hand back": lambda s: s.queue.hand_back(s.lease, s.running),
    "rescue": lambda s: s.leases.rescue(s.lease, _suspects(s), max_deaths=3, reason="killed"),
    "park": lambda s: s.leases.rescue(s.lease, _suspects(s), max_deaths=1, reason="killed"),
    "end of a lease": lambda s: s.leases.end(s.lease),
    "new lease": lambda s: isinstance(s.leases.register("here", 2), Lease),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_is_done_or_not(database: Database, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    surroundings = Surroundings(database)
    before = surroundings.everything()
    execute, left = Connection.execute, 0

    def fail_sometimes(self: Connection, *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise StatementFailed
        return execute(self, *args, **kwargs)

    failures = 0
    while True:
        failures += 1
        left = failures
        with monkeypatch.context() as patched:
            patched.setattr(Connection, "execute", fail_sometimes)
            try:
                OPERATIONS[name](surroundings)
                break
            except StatementFailed:
                pass
        assert surroundings.everything() == before, f"statement {failures} failed and something of it stayed"
    assert failures > 1
    assert surroundings.everything() != before
