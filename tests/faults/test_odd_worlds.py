"""A world that is not as it should be: rows that nobody can read, a clock that jumps, a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from postgres_server import free_port
from running_server import environment, running_server

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.executor.submit import Submitter
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.settings import Settings
from tests import odd_blocks
from tests.executor.conftest import Bench
from tests.faults import load
from tests.faults.checker import Checker
from tests.faults.load import Load

COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED


@pytest.fixture
async def bench(settings: Settings, database: Database) -> AsyncIterator[Bench]:
    submitter = Submitter(settings, database)
    registry = load_registry(odd_blocks.ALL.split(","))
    yield Bench(settings, database, registry, submitter, Executions(database))
    await submitter.close()


@contextlib.asynccontextmanager
async def working(bench: Bench) -> AsyncIterator[None]:
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait_for(task, 20)


@pytest.mark.parametrize("column", ["inputs", "graph"])
async def test_one_poisoned_row_among_five_hundred_fails_alone(bench: Bench, column: str) -> None:
    graph = bench.store({"a": ("CalculatorBlock", {"operation": "Add", "a": 1, "b": 1})})
    other = bench.store({"a": ("CalculatorBlock", {"operation": "Add", "a": 1, "b": 1})})
    ids = [await bench.submit(graph) for _ in range(499)]
    poisoned = await bench.submit(other)
    with bench.database.write() as c:
        if column == "inputs":
            change = f'UPDATE "AgentGraphExecution" SET "inputs" = \'{{"broken\' WHERE "id" = \'{poisoned}\''
        else:
            change = f'UPDATE "AgentNode" SET "constantInput" = \'{{"broken\' WHERE "agentGraphId" = \'{other.id}\''
        assert c.execute(change).rowcount == 1
    async with working(bench):
        execution = await bench.ended(poisoned)
        assert execution.status is FAILED
        assert execution.error
        statuses = {(await bench.ended(id_)).status for id_ in ids}
    assert statuses == {COMPLETED}


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_jumps_changes_nothing_but_times(
    bench: Bench, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = bench.store(
        {"wait": ("WaitBlock", {"seconds": 0.5}), "out": ("AgentOutputBlock", {"name": "x"})},
        ["wait.output_message -> out.value"],
        {"timeout_seconds": 600},
    )
    async with working(bench):
        ids = [await bench.submit(graph) for _ in range(5)]
        await bench.until(lambda: all(bench.nodes(id_) for id_ in ids))
        now, now_ms = clock.now, clock.now_ms
        jump = timedelta(hours=hours)
        monkeypatch.setattr(clock, "now", lambda: now() + jump)
        monkeypatch.setattr(clock, "now_ms", lambda: now_ms() + int(jump.total_seconds() * 1000))
        ids += [await bench.submit(graph) for _ in range(5)]
        ended = [await bench.ended(id_) for id_ in ids]
    assert {(e.status, e.attempt, e.deaths) for e in ended} == {(COMPLETED, 1, 0)}
    with bench.database.read() as c:
        assert Checker(c).problems(ids) == []


@pytest.mark.timeout(120)
def test_a_full_disk_is_answered_503_until_there_is_room_again(tmp_path: Path) -> None:
    env = environment(tmp_path, "file:database.db", AUTOGPT_BLOCKS=load.BLOCKS, AUTOGPT_PORT=str(free_port()))
    with running_server(env) as server, contextlib.closing(Load(server.url, "file:database.db", tmp_path)) as client:
        graph_id = client.store(load.chain())
        client.submit(graph_id, 20)
        client.wait_for_all()
        processes = [
            process
            for process in psutil.Process(server.process.pid).children(recursive=True)
            if any(
                name in " ".join(process.cmdline())
                for name in ("AgentServer", "Executor", "ExecutionManager", "main.mjs")
            )
        ]
        assert len(processes) >= 5
        largest = max(file.stat().st_size for file in tmp_path.glob("database.db*"))
        infinity = resource.RLIM_INFINITY
        for process in processes:
            process.rlimit(psutil.RLIMIT_FSIZE, (largest, infinity))
        try:
            refused: httpx.Response | None = None
            accepted: list[str] = []
            for _ in range(200):
                answer = client.once("POST", f"/graphs/{graph_id}/execute/batch", {"inputs": [{}] * 100})
                assert answer is not None
                if answer.status_code != 202:
                    refused = answer
                    break
                accepted += answer.json()["ids"]
            assert refused is not None
            assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
            # What goes through the query engine is answered the same.
            answer = client.once("POST", "/graphs", load.fan_out())
            assert answer is not None
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), answer.text
            health = client.once("GET", "/health")
            assert health is not None
            assert (health.status_code, health.json()["database"]["status"]) == (503, "unavailable")
            assert "the database takes no writes: " in health.json()["database"]["detail"]
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.rlimit(psutil.RLIMIT_FSIZE, (infinity, infinity))
        client.accepted += accepted
        # Nobody needs to write for health to find out, nor does it stay sure of what was.
        health = client.call_until_answered("GET", "/health")
        assert (health.status_code, health.json()["status"]) == (200, "ok")
        client.submit(graph_id, 20)
        client.wait_for_all()
        with client.database.read() as c:
            assert Checker(c).problems(client.accepted) == []
        assert all(process.is_running() for process in processes)
