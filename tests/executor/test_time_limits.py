"""How long nodes and executions may run, on both databases."""

from __future__ import annotations

import asyncio
import time

import pytest

from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.executor.conftest import Bench

COMPLETED, FAILED, TERMINATED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.TERMINATED


async def test_the_limit_of_the_node_goes_before_that_of_its_block(running: Bench) -> None:
    # The block's own limit is 0.2 s.
    execution = await running.execute({"wait": ("EndlessAsyncBlock", {}, {"timeout_seconds": 0.05})})
    error = running.node(execution, "wait").error or ""
    assert "longer than its limit of 0.05 s" in error
    assert "timeout_seconds in the node's policy" in error


async def test_an_execution_that_runs_too_long_fails_with_the_limit_and_stops_what_runs(running: Bench) -> None:
    graph = running.store(
        {"one": ("RecordingBlock", {"value": 1}), "slow": ("SleepyBlock", {"seconds": 60})},
        policy={"timeout_seconds": 0.3},
    )
    began = time.monotonic()
    execution = await running.ended(await running.submit(graph))
    assert execution.status is FAILED
    assert execution.error == (
        "the execution ran longer than its limit of 0.3 s, and was stopped; "
        "a larger timeout_seconds in the graph's policy gives it more time"
    )
    assert 0.3 <= time.monotonic() - began < 10
    assert running.node(execution, "one").status is COMPLETED
    slow = running.node(execution, "slow")
    assert (slow.status, slow.error) == (TERMINATED, "the execution's time limit of 0.3 s ended it")


async def test_a_node_that_waits_for_its_next_try_says_that_the_limit_of_the_execution_ended_it(
    running: Bench,
) -> None:
    retry = {"retry": {"attempts": 3, "delay_seconds": 60}}
    graph = running.store({"bad": ("FlakyBlock", {"failures": 9}, retry)}, policy={"timeout_seconds": 0.3})
    execution = await running.ended(await running.submit(graph))
    assert execution.status is FAILED
    bad = running.node(execution, "bad")
    assert (bad.status, bad.error) == (TERMINATED, "the execution's time limit of 0.3 s ended it")


async def test_a_loop_of_trivial_nodes_ends_at_the_limit_too(bench: Bench) -> None:
    worker = bench.worker(drain_seconds=0, execution_timeout_seconds=0.3, max_node_executions=10_000_000)
    task = asyncio.create_task(worker.run(lambda _: None))
    execution = await bench.execute(
        {
            "start": ("CalculatorBlock", {"operation": "Add", "a": 0, "b": 1}),
            "again": ("CalculatorBlock", {"operation": "Add", "b": 1}),
        },
        ["start.result -> again.a", "again.result -> again.a"],
    )
    assert execution.status is FAILED
    assert "limit of 0.3 s" in (execution.error or "")
    assert "AUTOGPT_EXECUTION_TIMEOUT_SECONDS" in (execution.error or "")
    worker.stop()
    await asyncio.wait_for(task, 20)


async def test_time_paused_does_not_count_and_time_of_earlier_attempts_does(running: Bench) -> None:
    graph = running.store(
        {"start": ("SleepyBlock", {"seconds": 0.05}), "again": ("SleepyBlock", {"seconds": 0.05})},
        # Between two rounds it can be paused, whenever its executor hears of that.
        ["start.value -> again.value", "again.value -> again.value"],
        {"timeout_seconds": 2.5},
    )
    execution_id = await running.submit(graph)
    await running.until(lambda: running.nodes(execution_id))
    await asyncio.sleep(0.5)
    await running.submitter.pause(DEFAULT_USER_ID, execution_id)
    status = ExecutionStatus.PAUSED
    await running.until(lambda: running.executions.get(DEFAULT_USER_ID, execution_id).status is status)
    await asyncio.sleep(2)
    await running.submitter.resume(DEFAULT_USER_ID, execution_id)
    resumed = time.monotonic()
    execution = await running.ended(execution_id)
    assert "longer than its limit of 2.5 s" in (execution.error or "")
    # Half a second of it was used before the pause, the two of the pause were not.
    assert 0.5 < time.monotonic() - resumed < 2.3
    assert execution.paused.total_seconds() >= 2


@pytest.mark.parametrize("count", [70])
async def test_waiting_for_a_free_thread_is_not_counted(running: Bench, count: int) -> None:
    # 64 of them run at a time: the last ones wait longer than they may run.
    nodes = {
        f"n{i}": ("SleepyThreadBlock", {"seconds": 0.6, "value": i}, {"timeout_seconds": 1.0}) for i in range(count)
    }
    execution = await running.execute(nodes)
    assert (execution.status, execution.error) == (COMPLETED, None)
