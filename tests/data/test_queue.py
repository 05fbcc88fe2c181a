"""The queue is the table: what is accepted is claimed once, survives its claimer, and is stopped at any time."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from autogpt_server.data.commit import LeaseLost
from autogpt_server.data.controls import Controls
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.leases import Lease, Leases, Suspect
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import ExecutionQueue, NewExecution, Requests
from autogpt_server.data.records import Ending, Record, recorder
from autogpt_server.errors import ConflictError, ExecutionNotFound
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.make_graph import make_graph, node_id, store_graph
from tests.odd_blocks import RecordingBlock

REGISTRY = BlockRegistry([RecordingBlock])


@pytest.fixture
def graph(database: Database) -> Graph:
    graph = make_graph(REGISTRY, {"a": ("RecordingBlock", {})})
    store_graph(database, REGISTRY, graph)
    return graph


def new(graph: Graph, **more: Any) -> NewExecution:
    return NewExecution(new_id(), graph.id, 1, DEFAULT_USER_ID, '{"value":1}', **more)


def accept(database: Database, *batch: NewExecution) -> list[tuple[str, ExecutionStatus]]:
    with database.write() as c:
        return ExecutionQueue(database).accept(c, [list(batch)])[0]


def running_row(execution_id: str, ordinal: int = 0) -> NodeRow:
    now = now_ms()
    return NodeRow(f"{execution_id}.{ordinal}", node_id("a"), ExecutionStatus.RUNNING, "{}", 1, now, now)


def record(database: Database, lease: Lease, *records: Record) -> list[bool]:
    with database.write() as c:
        return recorder(database, lease)(c, list(records))


def test_what_is_accepted_is_claimed_oldest_first_and_once(database: Database, graph: Graph) -> None:
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    ids = [i for i, _ in accept(database, *(new(graph) for _ in range(5)))]
    first, second = queue.claim(lease, 3), queue.claim(lease, 3)
    assert [c.id for c in first] == ids[:3]
    assert [c.id for c in second] == ids[3:]
    assert queue.claim(lease, 3) == []
    assert {c.attempt for c in first} == {1}
    assert first[0].inputs == {"value": 1}


def test_claimers_at_the_same_time_never_share_an_execution(database: Database, graph: Graph) -> None:
    ids = [i for i, _ in accept(database, *(new(graph) for _ in range(60)))]
    claimed: list[list[str]] = [[] for _ in range(4)]

    def claim(mine: list[str]) -> None:
        lease = Leases(database).register("here", 1)
        queue = ExecutionQueue(database)
        while batch := queue.claim(lease, 4):
            mine.extend(c.id for c in batch)

    threads = [threading.Thread(target=claim, args=(mine,)) for mine in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # On PostgreSQL a claimer that sees only rows locked by others goes home; the rest is claimed at its next look.
    claim(claimed[0])
    assert sorted(sum(claimed, [])) == ids


def test_an_idempotency_key_accepts_once_per_user(database: Database, graph: Graph) -> None:
    first = accept(database, new(graph, idempotency_key="k"))
    again = accept(database, new(graph, idempotency_key="k"))
    assert again == first
    with pytest.raises(ConflictError, match="'k'"):
        accept(database, NewExecution(new_id(), graph.id, 1, DEFAULT_USER_ID, '{"value":2}', "k"))
    assert len(Executions(database).list(DEFAULT_USER_ID, None, limit=10, cursor=None).items) == 1


def test_a_dead_executors_work_is_queued_again_and_its_late_writes_are_refused(
    database: Database, graph: Graph
) -> None:
    queue, leases = ExecutionQueue(database), Leases(database)
    dead, other = leases.register("here", 1), leases.register("here", 2)
    ((execution_id, _),) = accept(database, new(graph))
    queue.claim(dead, 1)
    assert record(database, dead, Record(execution_id, 1, [running_row(execution_id)])) == [True]

    rescued = leases.rescue(dead, [], max_deaths=3, reason="test")
    assert (rescued.requeued, rescued.parked) == (1, ())
    assert leases.rescue(dead, [], max_deaths=3, reason="twice").requeued == 0
    with pytest.raises(LeaseLost):
        record(database, dead, Record(execution_id, 1, [running_row(execution_id, 1)]))
    with pytest.raises(LeaseLost):
        queue.claim(dead, 1) or queue.hand_back(dead, [execution_id])

    (claimed,) = queue.claim(other, 1)
    assert (claimed.id, claimed.attempt) == (execution_id, 2)
    # The row of the first attempt stands; nothing of the refused write does.
    page = Executions(database).node_executions(execution_id, limit=10)
    assert [n.id for n in page.items] == [f"{execution_id}.0"]


def test_an_execution_during_which_processes_die_runs_alone_and_is_given_up_at_the_limit(
    database: Database, graph: Graph
) -> None:
    queue, leases = ExecutionQueue(database), Leases(database)
    (bad, _), (neighbour, _) = accept(database, new(graph), new(graph))
    for death in (1, 2):
        lease = leases.register("here", death)
        assert [c.id for c in queue.claim(lease, 5, suspects=death > 1)][0] == bad
        record(database, lease, Record(bad, death, [running_row(bad)]))
        leases.rescue(lease, [Suspect(f"{bad}.0", node_id("a"), "RecordingBlock")], max_deaths=3, reason="code 7")
        assert queue.has_suspects()
    lease = leases.register("here", 3)
    assert [c.id for c in queue.claim(lease, 5)] == [neighbour]
    assert [c.id for c in queue.claim(lease, 5, suspects=True)] == [bad]
    rescued = leases.rescue(lease, [Suspect(f"{bad}.0", node_id("a"), "RecordingBlock")], max_deaths=3, reason="code 7")

    assert rescued.parked == (bad,)
    execution = Executions(database).get(DEFAULT_USER_ID, bad)
    assert execution.status is ExecutionStatus.FAILED
    assert "code 7" in (execution.error or "") and node_id("a") in (execution.error or "")
    (node,) = Executions(database).node_executions(bad, limit=10).items
    assert (node.status, node.sequence) == (ExecutionStatus.FAILED, 1)
    assert not queue.has_suspects()
    assert Executions(database).get(DEFAULT_USER_ID, neighbour).status is ExecutionStatus.QUEUED


def test_a_stop_ends_what_is_queued_and_asks_what_runs_and_reaches_children(database: Database, graph: Graph) -> None:
    queue, leases = ExecutionQueue(database), Leases(database)
    lease = leases.register("here", 1)
    controls = Controls(database)
    ((parent, _),) = accept(database, new(graph))
    queue.claim(lease, 1)
    ((child, _),) = accept(database, new(graph, parent_execution_id=parent, depth=1))

    assert controls.stop(DEFAULT_USER_ID, parent).status is ExecutionStatus.RUNNING
    assert queue.running(lease) == {parent: Requests(stop=True, pause=False)}
    assert Executions(database).get(DEFAULT_USER_ID, child).status is ExecutionStatus.TERMINATED
    ending = Ending(ExecutionStatus.TERMINATED, "{}", "{}", "stopped on request")
    assert record(database, lease, Record(parent, 1, [], ending)) == [True]
    assert controls.stop(DEFAULT_USER_ID, parent).status is ExecutionStatus.TERMINATED
    with pytest.raises(ExecutionNotFound):
        controls.stop("somebody else", parent)


def test_a_final_status_is_written_once_and_repeating_that_commit_is_harmless(database: Database, graph: Graph) -> None:
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    ((execution_id, _),) = accept(database, new(graph))
    queue.claim(lease, 1)
    row = running_row(execution_id)
    row.status, row.sequence, row.outputs = ExecutionStatus.COMPLETED, 1, '[["value",1]]'
    done = Record(execution_id, 1, [row], Ending(ExecutionStatus.COMPLETED, '{"x":[1]}', "{}", None))
    assert record(database, lease, done) == [True]
    # The answer to the commit was lost, so it is written again.
    assert record(database, lease, done) == [True]
    assert record(database, lease, Record(execution_id, 1, [running_row(execution_id, 1)])) == [False]

    execution = Executions(database).get(DEFAULT_USER_ID, execution_id)
    assert (execution.status, execution.outputs) == (ExecutionStatus.COMPLETED, {"x": [1]})
    (node,) = Executions(database).node_executions(execution_id, limit=10).items
    assert node.output_data == (("value", 1),)


def test_work_handed_back_keeps_its_place_in_the_queue(database: Database, graph: Graph) -> None:
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    ids = [i for i, _ in accept(database, new(graph), new(graph))]
    queue.claim(lease, 1)
    queue.hand_back(lease, ids[:1])
    assert [c.id for c in queue.claim(lease, 5)] == ids


def test_changes_tell_what_came_after_a_revision_and_collapse_into_the_latest(database: Database, graph: Graph) -> None:
    queue, lease, executions = ExecutionQueue(database), Leases(database).register("here", 1), Executions(database)
    ((execution_id, _),) = accept(database, new(graph))
    changes = executions.changes(execution_id, 0)
    assert (changes.execution.status, changes.nodes) == (ExecutionStatus.QUEUED, [])
    queue.claim(lease, 1)
    seen = executions.changes(execution_id, changes.revision).revision
    record(database, lease, Record(execution_id, 1, [running_row(execution_id, 0)]))
    record(database, lease, Record(execution_id, 1, [running_row(execution_id, 1)]))
    changes = executions.changes(execution_id, seen)
    assert changes.is_whole
    assert [n.id for n in changes.nodes] == [f"{execution_id}.0", f"{execution_id}.1"]
    assert executions.changes(execution_id, changes.revision).nodes == []
    assert executions.changes(execution_id, changes.nodes[0].revision).nodes == changes.nodes[1:]
    with pytest.raises(ExecutionNotFound):
        executions.changes(new_id(), 0)


def test_what_a_lease_left_running_is_queued_again_at_its_end_and_orphans_are_found(
    database: Database, graph: Graph
) -> None:
    queue, leases = ExecutionQueue(database), Leases(database)
    lease = leases.register("here", 1)
    ids = [i for i, _ in accept(database, new(graph), new(graph))]
    queue.claim(lease, 2)
    leases.end(lease)
    other = leases.register("here", 2)
    assert [c.id for c in queue.claim(other, 2)] == ids
    with database.write() as c:
        c.execute(database.sql('DELETE FROM "Executor" WHERE "id" = ?'), (other.id,))
    assert leases.requeue_orphans() == 2
    assert leases.requeue_orphans() == 0


def test_deaths_that_nobody_marked_end_in_quarantine_and_there_the_one_that_ran_is_to_blame(
    database: Database, graph: Graph
) -> None:
    queue, leases = ExecutionQueue(database), Leases(database)
    ((execution_id, _),) = accept(database, new(graph))
    for _ in range(5):
        lease = leases.register("here", 1)
        assert queue.claim(lease, 1)
        leases.rescue(lease, [], max_deaths=3, reason="killed")
    assert queue.has_suspects()
    for _ in range(2):
        lease = leases.register("here", 1)
        assert queue.claim(lease, 1, suspects=True)
        leases.rescue(lease, [], max_deaths=3, reason="killed", ran_alone=True)
    execution = Executions(database).get(DEFAULT_USER_ID, execution_id)
    assert execution.status is ExecutionStatus.FAILED
    assert "died 3 times" in (execution.error or "")


def test_hundreds_of_rows_are_written_and_replaced_in_one_commit(database: Database, graph: Graph) -> None:
    lease = Leases(database).register("here", 1)
    ((execution_id, _),) = accept(database, new(graph))
    ExecutionQueue(database).claim(lease, 1)
    running = [running_row(execution_id, ordinal) for ordinal in range(203)]
    assert record(database, lease, Record(execution_id, 1, running)) == [True]
    ended = [
        replace(row, status="COMPLETED", sequence=i, outputs=f'[["output",{i}]]', ended_ms=now_ms(), tries=2)
        for i, row in enumerate(running[:190], start=1)
    ]
    assert record(database, lease, Record(execution_id, 1, ended)) == [True]

    history = Executions(database).history(execution_id)
    assert [(n.id, n.sequence, n.output_data) for n in history] == [
        (f"{execution_id}.{i - 1}", i, (("output", i),)) for i in range(1, 191)
    ]
    left = Executions(database).node_executions(execution_id, limit=300).items[190:]
    assert [n.status for n in left] == [ExecutionStatus.RUNNING] * 13


def test_one_commit_holds_starts_and_ends_of_the_same_executions_in_order(database: Database, graph: Graph) -> None:
    lease = Leases(database).register("here", 1)
    ((first, _), (second, _)) = accept(database, new(graph), new(graph))
    ExecutionQueue(database).claim(lease, 2)
    row = running_row(first)
    done = Ending(ExecutionStatus.COMPLETED, "{}", "{}", None)
    records = [
        Record(first, 1, [row]),
        Record(second, 1, [], done),
        Record(first, 1, [replace(row, status="COMPLETED", sequence=1, outputs="[]")], done),
        # Over already, and never ours in this attempt.
        Record(second, 1, [running_row(second)]),
        Record(first, 2, [running_row(first, 1)]),
    ]
    assert record(database, lease, *records) == [True, True, True, False, False]
    executions = Executions(database)
    assert executions.statuses([first, second]) == dict.fromkeys((first, second), ExecutionStatus.COMPLETED)
    (node,) = executions.node_executions(first, limit=10).items
    assert (node.id, node.status, node.sequence) == (f"{first}.0", ExecutionStatus.COMPLETED, 1)
    assert node.revision == executions.get(DEFAULT_USER_ID, first).revision
    assert executions.node_executions(second, limit=10).items == []
