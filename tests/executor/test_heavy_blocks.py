"""Blocks declared heavy run in processes beside the executor: they delay nobody, and their deaths are theirs alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.errors import BlockError
from autogpt_server.executor.side_messages import heard_error, told_error
from autogpt_server.executor.submit import Submitter
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.settings import Settings
from tests import heavy_blocks, odd_blocks
from tests.executor.conftest import Bench

COMPLETED, FAILED, TERMINATED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.TERMINATED


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """What happens beside an executor does not depend on the database."""
    blocks = tuple(f"{heavy_blocks.ALL},{odd_blocks.ALL}".split(","))
    return sqlite_settings.model_copy(update={"blocks": blocks, "side_processes": 2, "executor_memory_mb": 400})


@pytest.fixture
async def running(settings: Settings) -> AsyncIterator[Bench]:
    database = Database.from_settings(settings)
    submitter = Submitter(settings, database)
    bench = Bench(settings, database, load_registry(settings.blocks), submitter, Executions(database))
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    yield bench
    worker.stop()
    await asyncio.wait_for(task, 20)
    await submitter.close()
    database.close()
    assert not [p for p in psutil.Process().children(recursive=True) if p.name().startswith("autogpt: Side")]
    assert not list(settings.run_dir.glob("side-*"))


async def test_it_delays_no_other_and_so_many_run_at_once_as_there_may_be_processes(running: Bench) -> None:
    spinning = running.store({"spin": ("SpinningBlock", {"seconds": 0.5})})
    ids = [await running.submit(spinning) for _ in range(4)]
    await running.until(lambda: any(running.nodes(execution_id) for execution_id in ids))
    began = time.monotonic()
    light = await running.execute({"light": ("ValueBlock", {"input": 1})})
    assert light.status is COMPLETED
    assert time.monotonic() - began < 0.5
    spans = []
    for execution_id in ids:
        assert (await running.ended(execution_id)).status is COMPLETED
        node = running.node(execution_id, "spin")
        spans.append(node.output_data[0][1])
        assert [(line.level, line.text) for line in node.logs] == [("stdout", "spinning"), ("warning", "for 0.5 s")]
    assert len({pid for pid, _, _ in spans}) == 2
    assert os.getpid() not in {pid for pid, _, _ in spans}
    moments = sorted([(began, 1) for _, began, _ in spans] + [(ended, -1) for _, _, ended in spans])
    most, now = 0, 0
    for _, change in moments:
        now += change
        most = max(most, now)
    assert most == 2


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("exit", "HeavyEndBlock's process died: it ended itself with exit code 5"),
        ("leak", "ran out of memory; an executor process may use 400 MB (AUTOGPT_EXECUTOR_MEMORY_MB)"),
        ("fail", "too heavy"),
        ("elsewhere", "yielded the unknown pin 'nowhere'"),
    ],
)
async def test_only_its_own_node_fails(running: Bench, how: str, error: str) -> None:
    spinning = await running.submit(running.store({"spin": ("SpinningBlock", {"seconds": 1})}))
    execution = await running.execute({"end": ("HeavyEndBlock", {"how": how})})
    assert execution.status is FAILED
    node = running.node(execution, "end")
    assert (node.status, node.error) == (FAILED, node.error)
    assert error in (node.error or "")
    other = await running.ended(spinning)
    assert (other.status, other.attempt, other.deaths) == (COMPLETED, 1, 0)


async def test_policies_retry_it_by_the_classes_of_its_errors(running: Bench) -> None:
    policy = {"retry": {"attempts": 3, "delay_seconds": 0, "errors": ["HeavyError"]}}
    execution = await running.execute({"end": ("HeavyEndBlock", {"how": "fail"}, policy)})
    assert running.node(execution, "end").tries == 3
    error = heard_error(told_error(heavy_blocks.HeavyError("a", 3), "a"))
    assert isinstance(error, BlockError)
    assert (type(error).__name__, str(error), error.retry_after_seconds) == ("HeavyError", "a", 3)


@pytest.mark.parametrize("why", ["limit", "stop"])
async def test_what_must_stop_is_killed(running: Bench, why: str) -> None:
    policy = {"timeout_seconds": 0.5} if why == "limit" else {}
    execution_id = await running.submit(running.store({"spin": ("SpinningBlock", {"seconds": 60}, policy)}))
    await running.until(lambda: running.nodes(execution_id))
    if why == "stop":
        await running.submitter.stop(DEFAULT_USER_ID, execution_id)
    execution = await running.ended(execution_id)
    assert execution.status is (FAILED if why == "limit" else TERMINATED)
    # The executor itself goes on.
    assert (await running.execute({"spin": ("SpinningBlock", {"seconds": 0})})).status is COMPLETED


async def test_it_streams(running: Bench) -> None:
    execution = await running.execute(
        {"numbers": ("HeavyStreamBlock", {"count": 5}), "next": ("RecordingBlock", {})}, ["numbers.value -> next.value"]
    )
    assert execution.status is COMPLETED
    assert [n.input_data["value"] for n in running.nodes(execution) if "value" in n.input_data] == [0, 1, 2, 3, 4]


async def test_a_process_that_is_killed_fails_its_node_alone(running: Bench) -> None:
    execution_id = await running.submit(running.store({"spin": ("SpinningBlock", {"seconds": 60})}))
    spinning = running.settings.files_dir / DEFAULT_USER_ID / "spinning"
    await running.until(lambda: list(spinning.glob("*.*[0-9]")))
    (file,) = spinning.iterdir()
    os.kill(int(file.read_text()), signal.SIGSEGV)
    execution = await running.ended(execution_id)
    assert "signal 11 (SIGSEGV): a segmentation fault" in (execution.error or "")
