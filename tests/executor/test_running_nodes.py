"""Marks of running nodes outlive their process, and async code is marked only while it runs."""

import asyncio
from pathlib import Path

import pytest

from autogpt_server.data.leases import Suspect
from autogpt_server.executor.running_nodes import Marked, RunningNodes, read_marks


def test_a_mark_is_readable_from_outside_until_it_is_cleared(tmp_path: Path) -> None:
    running = RunningNodes(tmp_path / "marks")
    first, second = running.mark("execution.1", "n", "B"), running.mark("execution.2", "n", "B")
    assert sorted(m.node_execution_id for m in read_marks(tmp_path / "marks")) == ["execution.1", "execution.2"]
    running.clear(first)
    assert read_marks(tmp_path / "marks") == [Suspect("execution.2", "n", "B")]
    running.clear(second)
    assert read_marks(tmp_path / "marks") == []


def test_a_process_that_never_marked_anything_names_nobody(tmp_path: Path) -> None:
    assert read_marks(tmp_path / "missing") == []


def test_more_marks_than_there_is_room_for_are_left_out(tmp_path: Path) -> None:
    running = RunningNodes(tmp_path / "marks")
    slots = [running.mark(f"execution.{i}", "n", "B") for i in range(300)]
    assert slots[-1] is None
    assert len(read_marks(tmp_path / "marks")) == 256
    for slot in slots:
        running.clear(slot)
    assert read_marks(tmp_path / "marks") == []


async def test_an_async_block_is_marked_while_its_code_runs_and_not_while_it_waits(tmp_path: Path) -> None:
    running = RunningNodes(tmp_path / "marks")
    seen: list[list[Suspect]] = []
    waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def block() -> int:
        seen.append(read_marks(tmp_path / "marks"))
        value = await waiting
        seen.append(read_marks(tmp_path / "marks"))
        return value

    async def marked() -> int:
        return await Marked(running, ("execution.7", "n", "B"), block())

    task = asyncio.create_task(marked())
    await asyncio.sleep(0)
    assert read_marks(tmp_path / "marks") == []
    waiting.set_result(5)
    assert await task == 5
    assert seen == [[Suspect("execution.7", "n", "B")]] * 2


async def test_cancellation_reaches_the_block_where_it_waits(tmp_path: Path) -> None:
    running = RunningNodes(tmp_path / "marks")
    cleaned: list[bool] = []

    async def block() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async def marked() -> None:
        await Marked(running, ("execution.7", "n", "B"), block())

    task = asyncio.create_task(marked())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]
    assert read_marks(tmp_path / "marks") == []
