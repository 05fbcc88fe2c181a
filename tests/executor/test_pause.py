"""Pausing and resuming, on both databases: what still runs, what does not start, and who wins when others decide."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.data.leases import Leases
from autogpt_server.data.queue import ExecutionQueue
from autogpt_server.errors import ConflictError
from autogpt_server.events.nudge import Nudger
from autogpt_server.executor import worker as worker_module
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.executor.conftest import Bench
from tests.make_graph import node_id

COMPLETED, QUEUED, RUNNING = ExecutionStatus.COMPLETED, ExecutionStatus.QUEUED, ExecutionStatus.RUNNING
PAUSED, TERMINATED = ExecutionStatus.PAUSED, ExecutionStatus.TERMINATED


def gated(bench: Bench, gate: str = "go") -> Graph:
    """Three nodes in a row; the second waits for a file."""
    return bench.store(
        {
            "first": ("RecordingBlock", {"value": 1}),
            "gate": ("PidBlock", {"path": gate}),
            "last": ("RecordingBlock", {}),
        },
        ["first.value -> gate.value", "gate.value -> last.value"],
    )


def folder(bench: Bench) -> Path:
    return bench.settings.files_dir / DEFAULT_USER_ID


def status(bench: Bench, execution_id: str) -> ExecutionStatus:
    return bench.executions.get(DEFAULT_USER_ID, execution_id).status


async def until_running(bench: Bench, execution_id: str, name: str = "gate") -> None:
    await bench.until(lambda: any(n.node_id == node_id(name) for n in bench.nodes(execution_id)))


async def until_paused(bench: Bench, execution_id: str, seconds: float = 20) -> None:
    await bench.until(lambda: status(bench, execution_id) is PAUSED, seconds)


async def test_what_runs_ends_nothing_else_starts_and_a_resume_goes_on_from_there(running: Bench) -> None:
    execution_id = await running.submit(gated(running))
    await until_running(running, execution_id)

    asked = await running.pause(execution_id)
    assert (asked.status, asked.pause_requested_at is not None) == (RUNNING, True)
    (folder(running) / "go").write_text("")
    await until_paused(running, execution_id)
    nodes = running.nodes(execution_id)
    assert [(n.node_id, n.status) for n in nodes] == [(node_id("first"), COMPLETED), (node_id("gate"), COMPLETED)]

    resumed = await running.submitter.resume(DEFAULT_USER_ID, execution_id)
    assert resumed.status in (QUEUED, RUNNING)
    execution = await running.ended(execution_id)
    assert (execution.status, execution.pause_requested_at) == (COMPLETED, None)
    assert execution.paused.total_seconds() > 0
    assert (folder(running) / "runs.txt").read_text().split() == [f"{execution_id}.0", f"{execution_id}.2"]


@pytest.mark.parametrize("is_nudged", [True, False], ids=["nudged", "nudge lost"])
async def test_a_loop_pauses_and_stops_within_a_moment(
    running: Bench, monkeypatch: pytest.MonkeyPatch, is_nudged: bool
) -> None:
    monkeypatch.setattr(worker_module, "_POLL_SECONDS", 60.0 if is_nudged else 0.2)
    if not is_nudged:
        monkeypatch.setattr(Nudger, "send", lambda *_: None)
    execution_id = await running.submit(
        running.store(
            {"a": ("RecordingBlock", {"value": 1}), "b": ("RecordingBlock", {})},
            ["a.value -> b.value", "b.value -> b.value"],
        )
    )
    await running.until(lambda: len(running.nodes(execution_id)) > 3)
    for _ in range(2):
        await running.submitter.pause(DEFAULT_USER_ID, execution_id)
        await until_paused(running, execution_id, 0.5 if is_nudged else 5)
        count = len(running.nodes(execution_id))
        assert all(n.sequence is not None for n in running.nodes(execution_id))
        await running.submitter.resume(DEFAULT_USER_ID, execution_id)
        await running.until(lambda count=count: len(running.nodes(execution_id)) > count)
    await running.submitter.stop(DEFAULT_USER_ID, execution_id)
    await running.until(lambda: status(running, execution_id) is TERMINATED, 0.5 if is_nudged else 5)


async def test_a_pause_that_is_taken_back_in_time_changes_nothing(running: Bench) -> None:
    graph = running.store(
        {
            "slow": ("PidBlock", {"path": "slow"}),
            "gate": ("PidBlock", {"path": "go"}),
            "last": ("RecordingBlock", {}),
        },
        ["gate.value -> last.value"],
    )
    execution_id = await running.submit(graph)
    await until_running(running, execution_id)
    await until_running(running, execution_id, "slow")
    await running.pause(execution_id)
    (folder(running) / "go").write_text("")
    await running.until(lambda: running.nodes(execution_id)[0].sequence == 1)
    assert not (folder(running) / "runs.txt").exists()
    # The slow one still runs, so the execution never left: the rest goes on at once.
    await running.submitter.resume(DEFAULT_USER_ID, execution_id)
    await running.until(lambda: len(running.nodes(execution_id)) == 3)
    (folder(running) / "slow").write_text("")
    execution = await running.ended(execution_id)
    assert (execution.status, execution.attempt, execution.paused.total_seconds()) == (COMPLETED, 1, 0)


async def test_an_execution_that_has_nothing_left_to_start_completes_in_spite_of_a_pause(running: Bench) -> None:
    execution_id = await running.submit(running.store({"gate": ("PidBlock", {})}))
    await until_running(running, execution_id)
    await running.submitter.pause(DEFAULT_USER_ID, execution_id)
    (folder(running) / "go").write_text("")
    assert (await running.ended(execution_id)).status is COMPLETED
    with pytest.raises(ConflictError, match="is COMPLETED and cannot be resumed"):
        await running.submitter.resume(DEFAULT_USER_ID, execution_id)


@pytest.mark.parametrize("is_paused", [False, True], ids=["while it pauses", "once it is paused"])
async def test_a_stop_goes_over_a_pause(running: Bench, is_paused: bool) -> None:
    execution_id = await running.submit(gated(running))
    await until_running(running, execution_id)
    await running.pause(execution_id)
    if is_paused:
        (folder(running) / "go").write_text("")
        await until_paused(running, execution_id)
    await running.submitter.stop(DEFAULT_USER_ID, execution_id)
    assert (await running.ended(execution_id)).status is TERMINATED
    with pytest.raises(ConflictError, match="TERMINATED"):
        await running.submitter.pause(DEFAULT_USER_ID, execution_id)


async def test_parts_pause_with_what_executes_them_and_are_found_again(running: Bench) -> None:
    inner = gated(running)
    outer = running.store(
        {"call": ("AgentExecutorBlock", {"graph_id": inner.id}), "after": ("RecordingBlock", {})},
        ["call.output_lists -> after.value"],
    )
    outer_id = await running.submit(outer)

    def children() -> list[str]:
        return [e.id for e in running.executions.list(DEFAULT_USER_ID, inner.id, limit=5, cursor=None).items]

    (inner_id,) = await running.until(children)
    await until_running(running, inner_id)
    await running.submitter.pause(DEFAULT_USER_ID, outer_id)
    # It only waits for the other, which is still busy.
    await until_paused(running, outer_id)
    assert status(running, inner_id) is RUNNING
    await running.pause(inner_id)
    (folder(running) / "go").write_text("")
    await until_paused(running, inner_id)
    await running.submitter.resume(DEFAULT_USER_ID, outer_id)
    assert (await running.ended(outer_id)).status is COMPLETED
    assert children() == [inner_id]
    runs = (folder(running) / "runs.txt").read_text().split()
    assert runs == [f"{inner_id}.0", f"{inner_id}.2", f"{outer_id}.1"]


async def test_what_waits_pauses_at_once_and_comes_back_to_its_old_place(bench: Bench) -> None:
    graph = bench.store({"a": ("RecordingBlock", {"value": 1})})
    ids = [await bench.submit(graph) for _ in range(3)]
    assert (await bench.submitter.pause(DEFAULT_USER_ID, ids[0])).status is PAUSED
    queue, lease = ExecutionQueue(bench.database), Leases(bench.database).register("here", 1)
    assert [one.id for one in queue.claim(lease, 1)] == [ids[1]]
    assert (await bench.submitter.resume(DEFAULT_USER_ID, ids[0])).status is QUEUED
    assert [one.id for one in queue.claim(lease, 2)] == [ids[0], ids[2]]
    # Nothing of it had begun.
    assert bench.executions.get(DEFAULT_USER_ID, ids[0]).paused.total_seconds() == 0


@pytest.mark.parametrize("request_name", ["pause", "stop"])
async def test_a_request_outlives_the_executor_that_was_to_obey_it(bench: Bench, request_name: str) -> None:
    execution_id = await bench.submit(bench.store({"a": ("RecordingBlock", {"value": 1})}))
    leases = Leases(bench.database)
    queue, lease = ExecutionQueue(bench.database), leases.register("here", 1)
    queue.claim(lease, 1)
    request: Any = getattr(bench.submitter, request_name)
    await request(DEFAULT_USER_ID, execution_id)
    assert status(bench, execution_id) is RUNNING
    leases.rescue(lease, [], max_deaths=3, reason="killed")
    assert status(bench, execution_id) is (PAUSED if request_name == "pause" else TERMINATED)
    assert queue.claim(leases.register("here", 2), 5) == []


async def test_pauses_and_resumes_at_any_moment_lose_nothing(running: Bench) -> None:
    graph = running.store(
        {"each": ("ListIteratorBlock", {"items": list(range(30))}), "record": ("RecordingBlock", {})},
        ["each.item -> record.value"],
    )
    ids = [await running.submit(graph) for _ in range(4)]
    for _ in range(15):
        for execution_id in ids:
            try:
                await running.submitter.pause(DEFAULT_USER_ID, execution_id)
                await asyncio.sleep(0)
                await running.submitter.resume(DEFAULT_USER_ID, execution_id)
            except ConflictError:
                assert status(running, execution_id) is COMPLETED
    ended = [await running.ended(execution_id) for execution_id in ids]
    assert {e.status for e in ended} == {COMPLETED}
    for execution_id in ids:
        assert [n.sequence for n in running.nodes(execution_id)] == list(range(1, 32))
    runs = (folder(running) / "runs.txt").read_text().split()
    assert len(runs) == len(set(runs)) == 120
