"""Nodes that failed are run again as their policy says, on both databases."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from autogpt_server.data.leases import Leases
from autogpt_server.data.queue import ExecutionQueue
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.executor.conftest import Bench
from tests.make_graph import node_id

COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
TERMINATED = ExecutionStatus.TERMINATED


def retry(attempts: int, **more: Any) -> dict[str, Any]:
    return {"retry": {"attempts": attempts, "delay_seconds": 0, "jitter": 0} | more}


async def test_a_node_is_run_until_it_succeeds_and_its_output_leaves_once(running: Bench) -> None:
    execution = await running.execute(
        {"flaky": ("FlakyBlock", {"failures": 2}, retry(3)), "next": ("RecordingBlock", {})},
        ["flaky.value -> next.value"],
    )
    assert (execution.status, execution.error) == (COMPLETED, None)
    flaky = running.node(execution, "flaky")
    assert (flaky.tries, flaky.sequence, flaky.output_data) == (3, 1, (("value", 3),))
    assert [entry.text for entry in flaky.logs] == ["run 1", "run 2", "run 3"]
    assert running.node(execution, "next").input_data == {"value": 3}


async def test_each_try_executes_a_graph_anew(running: Bench) -> None:
    part = running.store(
        {"flaky": ("FlakyBlock", {"failures": 2}), "out": ("AgentOutputBlock", {"name": "runs"})},
        ["flaky.value -> out.value"],
    )
    execution = await running.execute({"part": ("AgentExecutorBlock", {"graph_id": part.id}, retry(3))})
    assert (execution.status, execution.error) == (COMPLETED, None)
    assert running.node(execution, "part").tries == 3
    parts = running.executions.list(DEFAULT_USER_ID, part.id, limit=10, cursor=None).items
    assert [one.status for one in parts] == [COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.FAILED]


async def test_after_the_last_try_the_error_leaves(running: Bench) -> None:
    execution = await running.execute(
        {"flaky": ("FlakyBlock", {"failures": 9}, retry(2)), "next": ("RecordingBlock", {})},
        ["flaky.error -> next.value"],
    )
    # The graph says what follows on the failure, so it is no failure of the execution.
    assert execution.status is COMPLETED
    flaky = running.node(execution, "flaky")
    assert (flaky.status, flaky.tries, flaky.error) == (FAILED, 2, "failure 2")
    assert running.node(execution, "next").input_data == {"value": "failure 2"}


@pytest.mark.parametrize(
    ("errors", "tries"), [(["OtherSideError"], 2), (["BlockError"], 2), (["timeout"], 1), (["KeyError"], 1)]
)
async def test_only_the_named_errors_are_worth_another_run(running: Bench, errors: list[str], tries: int) -> None:
    execution = await running.execute({"flaky": ("FlakyBlock", {"failures": 9}, retry(2, errors=errors))})
    assert running.node(execution, "flaky").tries == tries


async def test_a_run_that_took_too_long_is_tried_again_and_a_wrong_input_is_not(running: Bench) -> None:
    policy = {**retry(2, errors=["timeout"]), "timeout_seconds": 0.1}
    execution = await running.execute(
        {"slow": ("SleepyBlock", {"seconds": 30}, policy), "wrong": ("SleepyBlock", {"seconds": "x"}, retry(5))}
    )
    assert execution.status is FAILED
    assert (running.node(execution, "slow").tries, running.node(execution, "wrong").tries) == (2, 1)
    assert "longer than its limit of 0.1 s" in (running.node(execution, "slow").error or "")


async def test_the_other_side_may_ask_for_a_longer_wait(running: Bench) -> None:
    began = time.monotonic()
    execution = await running.execute({"flaky": ("FlakyBlock", {"failures": 1, "retry_after": 0.5}, retry(2))})
    assert execution.status is COMPLETED
    assert time.monotonic() - began >= 0.5


async def test_a_stop_ends_the_wait_for_the_next_try(running: Bench) -> None:
    graph = running.store({"flaky": ("FlakyBlock", {"failures": 9}, retry(5, delay_seconds=60))})
    execution_id = await running.submit(graph)
    await running.until(lambda: any(n.tries == 2 for n in running.nodes(execution_id)))
    await running.submitter.stop(DEFAULT_USER_ID, execution_id)
    execution = await running.ended(execution_id)
    assert execution.status is TERMINATED
    assert running.node(execution, "flaky").status is TERMINATED


async def test_a_pause_ends_the_wait_and_a_resume_goes_on_counting(running: Bench) -> None:
    graph = running.store({"flaky": ("FlakyBlock", {"failures": 2}, retry(3, delay_seconds=60))})
    execution_id = await running.submit(graph)
    await running.until(lambda: any(n.tries == 2 for n in running.nodes(execution_id)))
    await running.submitter.pause(DEFAULT_USER_ID, execution_id)
    await running.until(lambda: running.executions.get(DEFAULT_USER_ID, execution_id).status is ExecutionStatus.PAUSED)
    await running.submitter.resume(DEFAULT_USER_ID, execution_id)
    # The second try fails, too; the third one is the last.
    await running.until(lambda: any(n.tries == 3 for n in running.nodes(execution_id)))


async def test_a_rescue_does_not_begin_to_count_anew(bench: Bench) -> None:
    graph = bench.store({"flaky": ("FlakyBlock", {"failures": 9}, retry(3, delay_seconds=60))})
    execution_id = await bench.submit(graph)
    queue, leases = ExecutionQueue(bench.database), Leases(bench.database)
    first = bench.worker()
    lease: list[Any] = []
    task = asyncio.create_task(first.run(lease.append))
    await bench.until(lambda: any(n.tries == 2 for n in bench.nodes(execution_id)))
    # Its beats stop, and another takes its work over.
    leases.rescue(lease[0], [], max_deaths=3, reason="test")
    await asyncio.wait_for(task, 20)
    assert queue.running(lease[0]) == {}

    second = bench.worker(drain_seconds=0)
    task = asyncio.create_task(second.run(lambda _: None))
    await bench.until(lambda: any(n.tries == 3 for n in bench.nodes(execution_id)))
    node = bench.node(execution_id, "flaky")
    # The third try, broken off or waiting, is counted before it begins.
    assert (node.node_id, node.sequence) == (node_id("flaky"), None)
    assert [entry.text for entry in node.logs] == ["run 1", "run 2"]
    second.stop()
    await asyncio.wait_for(task, 20)
