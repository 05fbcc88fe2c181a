"""What a block yields while it runs: on its way at once, recorded first, and taken up again, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autogpt_server.data.history import read_history
from autogpt_server.data.leases import Leases
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.executor.conftest import Bench
from tests.make_graph import node_id

COMPLETED, RUNNING = ExecutionStatus.COMPLETED, ExecutionStatus.RUNNING

NODES: Any = {"numbers": ("StreamBlock", {"count": 4, "gate_at": 2}), "next": ("RecordingBlock", {})}
LINKS = ["numbers.value -> next.value"]


def consumed(bench: Bench, execution_id: str) -> list[Any]:
    nodes = [n for n in bench.nodes(execution_id) if n.node_id == node_id("next") and n.status is COMPLETED]
    return [n.input_data["value"] for n in nodes]


def open_gate(bench: Bench) -> None:
    (bench.settings.files_dir / DEFAULT_USER_ID / "go").write_text("")


async def test_what_is_yielded_goes_on_while_the_node_runs_and_only_once(running: Bench) -> None:
    execution_id = await running.submit(running.store(NODES, LINKS))
    await running.until(lambda: len(consumed(running, execution_id)) == 2)
    numbers = running.node(execution_id, "numbers")
    # What it has yielded so far shows while it runs.
    assert (numbers.status, numbers.output_data) == (RUNNING, (("value", 0), ("value", 1)))
    streamed = read_history(running.database, execution_id).streamed
    assert [(one.number, one.pin, one.value) for one in streamed] == [(1, "value", 0), (2, "value", 1)]
    open_gate(running)
    execution = await running.ended(execution_id)
    assert execution.status is COMPLETED
    assert consumed(running, execution_id) == [0, 1, 2, 3]
    assert running.node(execution_id, "numbers").output_data == tuple(("value", i) for i in range(4))


async def streamed_and_given_back(bench: Bench) -> str:
    """Let an execution stream two values, then give back what its executor runs, as if that had died."""
    execution_id = await bench.submit(bench.store(NODES, LINKS))
    lease: list[Any] = []
    first = asyncio.create_task(bench.worker().run(lease.append))
    await bench.until(lambda: len(consumed(bench, execution_id)) == 2)
    Leases(bench.database).rescue(lease[0], [], max_deaths=3, reason="test")
    await asyncio.wait_for(first, 20)
    return execution_id


async def test_a_rerun_leaves_out_what_was_streamed(bench: Bench) -> None:
    execution_id = await streamed_and_given_back(bench)
    open_gate(bench)

    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda _: None))
    execution = await bench.ended(execution_id)
    assert (execution.status, execution.attempt) == (COMPLETED, 2)
    assert consumed(bench, execution_id) == [0, 1, 2, 3]
    assert len((bench.settings.files_dir / DEFAULT_USER_ID / "stream-runs").read_bytes()) == 2
    worker.stop()
    await asyncio.wait_for(task, 20)


async def test_a_stop_after_its_executor_died_keeps_what_was_streamed(bench: Bench) -> None:
    execution_id = await streamed_and_given_back(bench)
    await bench.submitter.stop(DEFAULT_USER_ID, execution_id)
    assert (await bench.ended(execution_id)).status is ExecutionStatus.TERMINATED
    assert bench.node(execution_id, "numbers").output_data == (("value", 0), ("value", 1))


async def test_another_try_leaves_out_what_was_streamed(running: Bench) -> None:
    policy = {"retry": {"attempts": 2, "delay_seconds": 0}}
    execution = await running.execute(
        {"numbers": ("StreamBlock", {"count": 4, "fail_at": 3}, policy), "next": ("RecordingBlock", {})}, LINKS
    )
    assert execution.status is COMPLETED
    assert consumed(running, execution.id) == [0, 1, 2, 3]
    assert running.node(execution, "numbers").tries == 2


async def test_a_failure_after_some_outputs_comes_after_them(running: Bench) -> None:
    execution = await running.execute(
        {
            "numbers": ("StreamBlock", {"count": 4, "fail_at": 2}),
            "next": ("RecordingBlock", {}),
            "broken": ("RecordingBlock", {}),
        },
        [*LINKS, "numbers.error -> broken.value"],
    )
    assert consumed(running, execution.id) == [0, 1]
    assert running.node(execution, "broken").input_data == {"value": "broken off"}
    assert running.node(execution, "numbers").output_data[-1] == ("error", "broken off")


async def test_lines_of_a_file_go_on_one_by_one(running: Bench) -> None:
    folder = running.settings.files_dir / DEFAULT_USER_ID
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lines.txt").write_bytes("one\r\n\ntwo\n  \nGrüße".encode())
    execution = await running.execute(
        {"lines": ("ReadLinesBlock", {"path": "lines.txt"}), "next": ("RecordingBlock", {})},
        ["lines.line -> next.value"],
    )
    assert execution.status is COMPLETED
    assert consumed(running, execution.id) == ["one", "two", "Grüße"]
    streamed = read_history(running.database, execution.id).streamed
    assert [(one.pin, one.value) for one in streamed][-1] == ("count", 3)


async def test_threads_stream_too(running: Bench) -> None:
    execution = await running.execute(
        {"numbers": ("ThreadStreamBlock", {"count": 20}), "next": ("RecordingBlock", {})}, LINKS
    )
    assert execution.status is COMPLETED
    assert consumed(running, execution.id) == list(range(20))
    assert len(read_history(running.database, execution.id).streamed) == 20


@pytest.mark.parametrize("request_name", ["stop", "pause"])
async def test_a_stop_and_a_pause_meet_a_stream(running: Bench, request_name: str) -> None:
    execution_id = await running.submit(running.store(NODES, LINKS))
    await running.until(lambda: len(consumed(running, execution_id)) == 2)
    if request_name == "stop":
        await running.submitter.stop(DEFAULT_USER_ID, execution_id)
        execution = await running.ended(execution_id)
        assert execution.status is ExecutionStatus.TERMINATED
        assert running.node(execution, "numbers").output_data == (("value", 0), ("value", 1))
        return
    await running.pause(execution_id)
    open_gate(running)
    paused = ExecutionStatus.PAUSED
    await running.until(lambda: running.executions.get(DEFAULT_USER_ID, execution_id).status is paused)
    await running.submitter.resume(DEFAULT_USER_ID, execution_id)
    assert (await running.ended(execution_id)).status is COMPLETED
    assert consumed(running, execution_id) == [0, 1, 2, 3]
