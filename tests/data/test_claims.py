"""What is claimed next: fair between users, by priority, within limits that hold exactly, for a few seeks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from autogpt_server.data import claims
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.leases import Lease, Leases, Suspect
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.data.records import Ending, Record, recorder
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.turns import lane_of
from tests.make_graph import make_graph, node_id, store_graph
from tests.odd_blocks import RecordingBlock

REGISTRY = BlockRegistry([RecordingBlock])
ANN, BOB = DEFAULT_USER_ID, "bob"


@pytest.fixture
def graphs(database: Database) -> dict[str, Graph]:
    """Two graphs of two users; executions of both may be accepted for any graph."""
    found: dict[str, Graph] = {}
    for user in (ANN, BOB):
        found[user] = make_graph(REGISTRY, {"a": ("RecordingBlock", {})})
        store_graph(database, REGISTRY, found[user], user)
    return found


def accept(
    database: Database, graph: Graph, count: int, user: str = ANN, limit: int | None = None, **more: Any
) -> list[str]:
    lane, lane_limit = lane_of(graph.id, limit, more.get("depth", 0))
    new = [
        NewExecution(new_id(), graph.id, 1, user, "{}", lane=lane, lane_limit=lane_limit, **more) for _ in range(count)
    ]
    with database.write() as c:
        ExecutionQueue(database).accept(c, [new])
    return [one.id for one in new]


def end(database: Database, lease: Lease, *execution_ids: str, attempt: int = 1) -> None:
    done = Ending(ExecutionStatus.COMPLETED, "{}", "{}", None)
    with database.write() as c:
        assert all(recorder(database, lease)(c, [Record(i, attempt, [], done) for i in execution_ids]))


def claim(queue: ExecutionQueue, lease: Lease, limit: int, **more: Any) -> list[str]:
    return [one.id for one in queue.claim(lease, limit, **more)]


def test_ten_thousand_of_one_user_do_not_delay_the_first_of_another(
    database: Database, graphs: dict[str, Graph]
) -> None:
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    anns = accept(database, graphs[ANN], 10_000)
    assert claim(queue, lease, 3) == anns[:3]
    bobs = accept(database, graphs[BOB], 4, BOB)
    # He has nothing running yet, she three.
    assert claim(queue, lease, 2) == bobs[:2]
    assert set(claim(queue, lease, 4)) == {*bobs[2:], *anns[3:5]}


def test_priority_orders_the_executions_of_one_user_and_no_others(database: Database, graphs: dict[str, Graph]) -> None:
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    low, high = (accept(database, graphs[ANN], 2, priority=p) for p in (-1, 7))
    (bobs,) = accept(database, graphs[BOB], 1, BOB)
    assert bobs in claim(queue, lease, 2)
    assert claim(queue, lease, 9) == [high[1], *low]
    # What is handed back keeps its place.
    queue.hand_back(lease, [high[0], low[0]])
    assert claim(queue, lease, 1) == [high[0]]


def test_the_limit_of_a_graph_holds_back_its_executions_alone(database: Database, graphs: dict[str, Graph]) -> None:
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    limited = accept(database, graphs[ANN], 5, limit=2)
    free = accept(database, graphs[ANN], 1)
    assert claim(queue, lease, 9) == [*limited[:2], *free]
    assert claim(queue, lease, 9) == []
    end(database, lease, limited[0])
    assert claim(queue, lease, 9) == [limited[2]]
    # What is given back waits again in its lane, before the others.
    queue.hand_back(lease, [limited[1]])
    assert claim(queue, lease, 9) == [limited[1]]


def test_parts_of_other_executions_are_outside_of_every_limit(database: Database, graphs: dict[str, Graph]) -> None:
    queue, lease = ExecutionQueue(database, max_per_user=1), Leases(database).register("here", 1)
    parent, waiting = accept(database, graphs[ANN], 2, limit=1)
    assert claim(queue, lease, 9) == [parent]
    parts = accept(database, graphs[ANN], 3, limit=1, depth=1, parent_execution_id=parent)
    # Both limits are used up by the parent, which waits for them.
    assert claim(queue, lease, 9) == parts
    assert claim(queue, lease, 9) == []
    end(database, lease, parent)
    assert claim(queue, lease, 9) == [waiting]


def test_a_users_limit_counts_all_of_the_users_executions(database: Database, graphs: dict[str, Graph]) -> None:
    queue, lease = ExecutionQueue(database, max_per_user=3), Leases(database).register("here", 1)
    anns = [*accept(database, graphs[ANN], 2), *accept(database, graphs[ANN], 2, limit=9)]
    bobs = accept(database, graphs[BOB], 4, BOB)
    assert set(claim(queue, lease, 9)) == {*anns[:3], *bobs[:3]}
    end(database, lease, bobs[1])
    assert claim(queue, lease, 9) == bobs[3:]


def test_a_suspect_waits_in_quarantine_under_the_limit_of_its_own_lane(
    database: Database, graphs: dict[str, Graph]
) -> None:
    queue, leases = ExecutionQueue(database), Leases(database)
    bad, other = accept(database, graphs[ANN], 2, limit=1)
    dead, lease = leases.register("here", 1), leases.register("here", 2)
    assert claim(queue, dead, 1) == [bad]
    leases.rescue(dead, [Suspect(f"{bad}.0", node_id("a"), "RecordingBlock")], max_deaths=3, reason="code 7")
    assert claim(queue, lease, 9) == [other]
    assert not queue.has_suspects()
    assert claim(queue, lease, 9, suspects=True) == []
    end(database, lease, other)
    assert queue.has_suspects()
    assert claim(queue, lease, 9, suspects=True) == [bad]
    # Now it is the suspect that holds the others back.
    (third,) = accept(database, graphs[ANN], 1, limit=1)
    assert claim(queue, lease, 9) == []
    end(database, lease, bad, attempt=2)
    assert claim(queue, lease, 9) == [third]


def test_limits_hold_exactly_however_many_claim_at_the_same_time(database: Database, graphs: dict[str, Graph]) -> None:
    limit, max_per_user = 3, 5
    left = {*accept(database, graphs[ANN], 40, limit=limit), *accept(database, graphs[ANN], 40)}
    failures: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        queue, lease = ExecutionQueue(database, max_per_user), Leases(database).register("here", 1)
        while left and not failures:
            claimed = claim(queue, lease, 2)
            with database.read() as c:
                lanes = c.execute('SELECT "lane" FROM "AgentGraphExecution" WHERE "status" = \'RUNNING\'')
                running = list(lanes.scalars())
            if len(running) > max_per_user or running.count(graphs[ANN].id) > limit:
                failures.append(f"too many run: {running}")
            if claimed:
                end(database, lease, *claimed)
                with lock:
                    left.difference_update(claimed)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert not failures
    assert not left


def test_what_a_limit_allows_is_claimed_by_one_after_the_other(database: Database, graphs: dict[str, Graph]) -> None:
    (limited,) = accept(database, graphs[ANN], 1, limit=1)
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    claimed: list[str] = []
    claimer = threading.Thread(target=lambda: claimed.extend(claim(queue, lease, 2)))
    with database.write() as c:
        # What another claimer does between looking and taking.
        ExecutionQueue(database)._lock_limits(c)
        claimer.start()
        claimer.join(0.3)
        assert claimer.is_alive()
    claimer.join(20)
    assert claimed == [limited]


def test_more_lines_than_one_look_takes_in_take_turns(
    database: Database, graphs: dict[str, Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_LINES", 2)
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    extra = [make_graph(REGISTRY, {"a": ("RecordingBlock", {})}) for _ in range(7)]
    for graph in extra:
        store_graph(database, REGISTRY, graph)
    first = {accept(database, graph, 2, limit=1)[0] for graph in extra}
    (last,) = accept(database, graphs[BOB], 1, BOB)
    claimed: set[str] = set()
    # Every look takes in two lines and finds something, until all that is left is held back.
    while batch := claim(queue, lease, 1):
        claimed.update(batch)
    assert claimed == {*first, last}
    end(database, lease, min(first))
    assert len(claim(queue, lease, 9)) == 1


def test_a_claim_among_very_many_costs_a_few_seeks(database: Database, graphs: dict[str, Graph]) -> None:
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    _fill(database, graphs[ANN].id, lane=graphs[ANN].id)
    assert len(claim(queue, lease, 20)) == 10
    looks = claims.Looks(database, None)
    with _steps(database) as (c, steps):
        # All are held back, but that is not found out by looking at each.
        assert looks.look(c, 16) == []
        assert steps() < 5_000
    _fill(database, graphs[ANN].id, lane="")
    with _steps(database) as (c, steps):
        assert len(looks.look(c, 16)) == 16
        assert steps() < 5_000


@pytest.mark.parametrize("work", ["claim", "record"])
def test_statistics_from_a_time_without_a_queue_do_not_mislead_postgresql(
    database: Database, graphs: dict[str, Graph], monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    if database.provider == "sqlite":
        pytest.skip("SQLite keeps no statistics by itself")
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    accept(database, graphs[ANN], 1000)
    end(database, lease, *claim(queue, lease, 1000))
    with database.write() as c:
        c.execute('ANALYZE "AgentGraphExecution"')
    accept(database, graphs[ANN], 2000)
    claimed = claim(queue, lease, 256) if work == "record" else []
    execute, rows = Connection.execute, 0

    def count_rows(self: Connection, text: str, values: Any = ()) -> Any:
        nonlocal rows
        if 'UPDATE "AgentGraphExecution"' in text:
            execute(self, "SAVEPOINT before")
            told = execute(self, f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values).scalar_one()
            execute(self, "ROLLBACK TO before")
            rows += _rows_of((json.loads(told) if isinstance(told, str) else told)[0]["Plan"])
        return execute(self, text, values)

    monkeypatch.setattr(Connection, "execute", count_rows)
    if work == "claim":
        assert len(claim(queue, lease, 256)) == 256
    else:
        end(database, lease, *claimed)
    assert 256 <= rows < 5_000


def _rows_of(plan: dict[str, Any]) -> int:
    """Count the rows that every step of a plan took in its hands."""
    removed = sum(value for name, value in plan.items() if name.startswith("Rows Removed by"))
    rows = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return rows + sum(_rows_of(part) for part in plan.get("Plans", ()))


def _fill(database: Database, graph_id: str, lane: str) -> None:
    """Queue 20,000 executions at once."""
    now = database.to_column(datetime.now(UTC))
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT "
        if database.provider == "sqlite"
        else "WITH n(i) AS (SELECT generate_series(1, 20000)) SELECT "
    )
    with database.write() as c:
        c.execute(
            database.sql(
                'INSERT INTO "AgentGraphExecution" ("id","agentGraphId","agentGraphVersion","userId","status",'
                f'"lane","laneLimit","createdAt") {numbers} ? || i, ?, 1, ?, \'QUEUED\', ?, ?, ? FROM n'
            ),
            (f"{lane}.", graph_id, ANN, lane, 10 if lane else 0, now),
        )
        if database.provider == "postgresql":
            c.execute('ANALYZE "AgentGraphExecution"')


@contextmanager
def _steps(database: Database) -> Iterator[tuple[Any, Any]]:
    """Give a connection that counts its work: steps of SQLite's machine, or pages that PostgreSQL looked at."""
    with database.read() as c:
        if database.provider == "sqlite":
            raw: Any = c.driver_connection
            count = [0]
            raw.set_progress_handler(lambda: count.__setitem__(0, count[0] + 100), 100)
            yield c, lambda: count[0]
            raw.set_progress_handler(None, 100)
        else:
            counting = _CountingConnection(c)
            yield counting, lambda: counting.pages


class _CountingConnection:
    def __init__(self, connection: Connection) -> None:
        self._connection, self.pages = connection, 0

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        explained = self._connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        told = explained.scalar_one()
        plan = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
        self.pages += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return self._connection.execute(statement, parameters)
