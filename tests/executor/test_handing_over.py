"""What is accepted while an executor has nothing to do runs there at once; whatever goes wrong with that, it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from autogpt_server.data.queue import ExecutionQueue
from autogpt_server.events.handover import Offers
from autogpt_server.executor import handed
from autogpt_server.executor.submit import Submitter
from autogpt_server.executor.worker import Worker
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.service.run_folder import open_run_folder
from tests.executor.conftest import Bench
from tests.make_graph import Nodes

TRIVIAL: Nodes = {"a": ("CalculatorBlock", {"a": 1, "b": 2, "operation": "Add"})}
COMPLETED = ExecutionStatus.COMPLETED


@pytest.fixture
async def offers(bench: Bench) -> AsyncIterator[Offers]:
    """Those that the bench's submitter hears."""
    offers = Offers(open_run_folder(bench.settings))
    await offers.open()
    await bench.submitter.close()
    bench.submitter = Submitter(bench.settings, bench.database, offers)
    yield offers
    await bench.submitter.close()
    offers.close()


async def offered(bench: Bench, offers: Offers) -> None:
    await bench.until(lambda: offers._offers)


def claim_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutionQueue, "claim", lambda *_, **__: [])


async def test_an_idle_executor_runs_what_it_never_claimed(
    offers: Offers, running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_nothing(monkeypatch)
    graph = running.store(TRIVIAL)
    for _ in range(5):
        await offered(running, offers)
        execution = await running.ended(await running.submit(graph))
        assert (execution.status, execution.attempt) == (COMPLETED, 1)


async def test_a_repeated_request_is_handed_over_once(
    offers: Offers, running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_nothing(monkeypatch)
    graph = running.store(TRIVIAL)
    ids: set[str] = set()
    for _ in range(3):
        await offered(running, offers)
        execution_id, _ = await running.submitter.submit(DEFAULT_USER_ID, graph.id, {}, idempotency_key="once")
        ids.add(execution_id)
        assert (await running.ended(execution_id)).attempt == 1
    assert len(ids) == 1


async def test_what_does_not_arrive_is_handed_back_and_runs(
    offers: Offers, running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = running.store(TRIVIAL)
    await offered(running, offers)
    monkeypatch.setattr(Offers, "hand_over", lambda *_: None)
    execution = await running.ended(await running.submit(graph))
    assert (execution.status, execution.attempt) == (COMPLETED, 2)


async def test_an_executor_without_room_hands_back(
    offers: Offers, running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = running.store(TRIVIAL)
    await offered(running, offers)
    full = True
    free = Worker._free
    monkeypatch.setattr(Worker, "_free", lambda *args: 0 if full else free(*args))
    execution_id = await running.submit(graph)
    # RUNNING only on its way: it waits for somebody who has room.
    await running.until(lambda: running.executions.get(DEFAULT_USER_ID, execution_id).status is ExecutionStatus.QUEUED)
    full = False
    assert (await running.ended(execution_id)).status is COMPLETED


async def test_a_stopped_executor_is_handed_nothing(offers: Offers, bench: Bench) -> None:
    graph = bench.store(TRIVIAL)
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    await offered(bench, offers)
    worker.stop()
    await asyncio.wait_for(task, 20)
    execution_id = await bench.submit(graph)
    assert bench.executions.get(DEFAULT_USER_ID, execution_id).status is ExecutionStatus.QUEUED


@pytest.mark.parametrize("change", ["limit", "input"])
async def test_what_a_limit_is_about_or_is_long_is_claimed(offers: Offers, running: Bench, change: str) -> None:
    policy = {"max_concurrent_executions": 1} if change == "limit" else None
    graph = running.store({"in": ("AgentInputBlock", {"name": "text"})}, policy=policy)
    await offered(running, offers)
    inputs: dict[str, Any] = {"text": "x" * (10_000 if change == "input" else 1)}
    execution = await running.ended(await running.submit(graph, inputs))
    assert execution.status is COMPLETED
    # The offer was not taken.
    assert offers.take() is not None


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b'["a","b",1,"c","no json"]'])
async def test_what_is_no_execution_is_ignored(text: bytes) -> None:
    assert handed.unpack(text) is None


async def test_what_is_handed_over_arrives_as_it_was_accepted(offers: Offers, running: Bench) -> None:
    inputs = {"text": "\u00e9 \u2028 {}", "big": 10**30, "none": None}
    graph = running.store({name: ("AgentInputBlock", {"name": name}) for name in inputs})
    await offered(running, offers)
    execution = await running.ended(await running.submit(graph, inputs))
    assert (execution.status, execution.inputs) == (COMPLETED, inputs)
    values = {node.input_data["name"]: node.input_data["value"] for node in running.nodes(execution)}
    assert values == inputs
