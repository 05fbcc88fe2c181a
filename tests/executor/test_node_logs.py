"""What blocks print and log is kept with their node executions, within bounds, and reaches nothing else."""

from __future__ import annotations

import asyncio

import pytest

from autogpt_server.model.execution import ExecutionStatus
from tests.executor.conftest import Bench

COMPLETED = ExecutionStatus.COMPLETED


@pytest.mark.parametrize("block", ["TalkingBlock", "TalkingInlineBlock", "TalkingAsyncBlock"])
async def test_each_node_keeps_what_its_block_prints_and_logs(
    running: Bench, block: str, capfd: pytest.CaptureFixture[str]
) -> None:
    execution = await running.execute({"one": (block, {"text": "first"}), "two": (block, {"text": "second"})})
    assert execution.status is COMPLETED
    for name, text in (("one", "first"), ("two", "second")):
        entries = [(entry.level, entry.text) for entry in running.node(execution, name).logs]
        assert sorted(entries) == [
            ("info", "by the context"),
            ("stderr", "to stderr"),
            ("stdout", text),
            ("warning", "logged 1"),
        ]
    assert "first" not in capfd.readouterr().out


async def test_a_flood_is_bounded_and_told(bench: Bench) -> None:
    worker = bench.worker(drain_seconds=0, max_node_log_bytes=2000)
    task = asyncio.create_task(worker.run(lambda _: None))
    execution = await bench.execute({"one": ("TalkingBlock", {"text": "x" * 100, "times": 100_000})})
    assert execution.status is COMPLETED
    logs = bench.node(execution, "one").logs
    assert sum(len(entry.text) for entry in logs) < 2000
    assert logs[-1].level == "warning"
    assert "more characters were left out" in logs[-1].text
    worker.stop()
    await asyncio.wait_for(task, 20)
