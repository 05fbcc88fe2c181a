"""Pausing, priorities, limits and idempotency keys as clients meet them, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.executor.worker import Worker
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.server.conftest import Api, Nodes
from tests.server.test_api_executions import ECHO, events

pytestmark = pytest.mark.asyncio(loop_scope="module")


def gated(gate: str) -> tuple[Nodes, list[str]]:
    """A node that waits for a file, and one behind it."""
    return (
        {"gate": ("PidBlock", {"path": gate}), "out": ("AgentOutputBlock", {"name": "pid"})},
        ["gate.value -> out.value"],
    )


def user_folder(api: Api) -> Path:
    folder = api.settings.files_dir / DEFAULT_USER_ID
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def until(api: Api, execution_id: str, status: str, nodes: int = 0) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            execution = await api.call("GET", f"/executions/{execution_id}", 200)
            if execution["status"] == status and len(execution["node_executions"]["items"]) >= nodes:
                return execution
            await asyncio.sleep(0.01)


async def heard_of_pause(api: Api, execution_id: str) -> None:
    """Wait until the executor knows: what ends before then lets the next node start."""
    assert api.worker is not None
    executor = api.worker._active[execution_id]
    async with asyncio.timeout(20):
        while not executor._is_pausing:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def worker_of(api: Api, **changes: Any) -> AsyncGenerator[None]:
    """A worker with other settings than ``running`` has."""
    settings = api.settings.model_copy(update={"drain_seconds": 0, "executor_lease_seconds": 600, **changes})
    worker = Worker(settings, api.registry, api.services.database, quarantine=False)
    task = asyncio.create_task(worker.run(lambda lease: None))
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait_for(task, 20)


def most_at_once(executions: list[dict[str, Any]]) -> int:
    """Tell how many of them ran at the same time, at most."""
    moments = [(e["started_at"], 1) for e in executions] + [(e["ended_at"], -1) for e in executions]
    # At the same millisecond one ended before the other could start.
    return max(accumulate(change for _, change in sorted(moments)))


async def test_a_pause_shows_everywhere_and_a_resume_ends_it(running: Api):
    api, gate = running, new_id()
    graph_id = await api.stored(*gated(gate))
    execution_id = (await api.call("POST", f"/graphs/{graph_id}/execute", 202))["id"]
    following = asyncio.create_task(events(api, execution_id))
    await until(api, execution_id, "RUNNING", nodes=1)

    asked = await api.call("POST", f"/executions/{execution_id}/pause", 200)
    assert asked["status"] == "RUNNING"
    assert asked["pause_requested_at"].endswith("Z")
    await heard_of_pause(api, execution_id)
    (user_folder(api) / gate).write_text("")
    paused = await until(api, execution_id, "PAUSED")
    assert [n["status"] for n in paused["node_executions"]["items"]] == ["COMPLETED"]
    (listed,) = (await api.call("GET", f"/graphs/{graph_id}/executions", 200))["items"]
    assert (listed["status"], listed["paused_seconds"]) == ("PAUSED", 0)
    assert (await api.call("POST", f"/executions/{execution_id}/pause", 200))["status"] == "PAUSED"

    assert (await api.call("POST", f"/executions/{execution_id}/resume", 200))["status"] in ("QUEUED", "RUNNING")
    ended = await api.ended(execution_id)
    assert (ended["status"], ended["pause_requested_at"], ended["attempt"]) == ("COMPLETED", None, 2)
    assert ended["paused_seconds"] > 0
    told = [e["execution"]["status"] for _, e in await following if e["type"] == "graph_execution"]
    assert "PAUSED" in told[:-1]
    assert told[-1] == "COMPLETED"


async def test_what_waits_is_paused_at_once_and_what_has_ended_cannot_be(api: Api):
    graph_id = await api.stored()
    execution_id = (await api.call("POST", f"/graphs/{graph_id}/execute", 202))["id"]
    for action, status in (("resume", "QUEUED"), ("pause", "PAUSED"), ("resume", "QUEUED"), ("stop", "TERMINATED")):
        assert (await api.call("POST", f"/executions/{execution_id}/{action}", 200))["status"] == status
    for action, word in (("pause", "paused"), ("resume", "resumed")):
        problem = await api.call("POST", f"/executions/{execution_id}/{action}", 409)
        assert problem["detail"] == f"Execution {execution_id} is TERMINATED and cannot be {word}."


@pytest.mark.parametrize("path", ["execute", "execute/batch"])
async def test_a_priority_is_kept_and_one_out_of_range_is_refused_by_name(api: Api, path: str):
    graph_id = await api.stored()
    body = {"inputs": [{}]} if path == "execute/batch" else {}
    accepted = await api.call("POST", f"/graphs/{graph_id}/{path}", 202, json=body, params={"priority": -100})
    execution_id = accepted.get("id") or accepted["ids"][0]
    assert (await api.call("GET", f"/executions/{execution_id}", 200))["priority"] == -100
    for priority in (-101, 101, "high", 1.5):
        refusal = await api.refusal("POST", f"/graphs/{graph_id}/{path}", json=body, params={"priority": priority})
        assert refusal[0] == "priority"


async def test_higher_priorities_start_first(api: Api):
    graph_id = await api.stored({"record": ("RecordingBlock", {})}, [])
    ids = {
        priority: (await api.call("POST", f"/graphs/{graph_id}/execute", 202, params={"priority": priority}))["id"]
        for priority in (0, -5, 50, 7)
    }
    async with worker_of(api, executor_concurrency=1):
        for execution_id in ids.values():
            await api.ended(execution_id)
    runs = (user_folder(api) / "runs.txt").read_text().split()[-4:]
    assert runs == [f"{ids[priority]}.0" for priority in (50, 7, 0, -5)]


async def test_executions_of_a_graph_with_a_limit_wait_for_one_another(running: Api):
    api, gate = running, new_id()
    limited = {**api.graph(*gated(gate)), "policy": {"max_concurrent_executions": 2}}
    graph_id = (await api.call("POST", "/graphs", 201, json=limited))["id"]
    batch = await api.call("POST", f"/graphs/{graph_id}/execute/batch", 202, json={"inputs": [{}] * 5})
    # What comes after them is not held back, so by its end they had their chance.
    other = await api.call("POST", f"/graphs/{await api.stored()}/execute", 202)
    for execution_id in batch["ids"][:2]:
        await until(api, execution_id, "RUNNING", nodes=1)
    await api.ended(other["id"])
    statuses = [(await api.call("GET", f"/executions/{i}", 200))["status"] for i in batch["ids"]]
    assert statuses == ["RUNNING", "RUNNING", "QUEUED", "QUEUED", "QUEUED"]
    (user_folder(api) / gate).write_text("")
    ended = [await api.ended(execution_id) for execution_id in batch["ids"]]
    assert {one["status"] for one in ended} == {"COMPLETED"}
    assert most_at_once(ended) <= 2


async def test_executions_of_a_user_with_a_limit_wait_for_one_another(api: Api):
    gate = new_id()
    graph_ids = [await api.stored(*gated(gate)) for _ in range(4)]
    ids = [(await api.call("POST", f"/graphs/{graph_id}/execute", 202))["id"] for graph_id in graph_ids]
    async with worker_of(api, max_concurrent_per_user=3):
        for execution_id in ids[:3]:
            await until(api, execution_id, "RUNNING", nodes=1)
        assert (await api.call("GET", f"/executions/{ids[3]}", 200))["status"] == "QUEUED"
        (user_folder(api) / gate).write_text("")
        assert most_at_once([await api.ended(execution_id) for execution_id in ids]) <= 3


async def test_a_batch_with_a_key_is_accepted_once_and_only_as_it_was(api: Api):
    graph_id, headers = await api.stored(*ECHO), {"Idempotency-Key": new_id()}
    path, batch = f"/graphs/{graph_id}/execute/batch", [{"who": i} for i in range(40)]

    answers = await asyncio.gather(
        *(api.call("POST", path, 202, json={"inputs": batch}, headers=headers) for _ in range(4))
    )
    assert all(answer == answers[0] for answer in answers)
    assert len(set(answers[0]["ids"])) == 40
    for other in (batch[:-1], batch[:1], [*batch, {}], [*batch[:-1], {"who": "else"}]):
        conflict = await api.call("POST", path, 409, json={"inputs": other}, headers=headers)
        assert conflict["detail"].startswith(f"The idempotency key '{headers['Idempotency-Key']}' was used with a")
    other_path = f"/graphs/{await api.stored(*ECHO)}/execute/batch"
    await api.call("POST", other_path, 409, json={"inputs": batch}, headers=headers)
    assert len((await api.call("GET", f"/graphs/{graph_id}/executions?limit=100", 200))["items"]) == 40
    assert (await api.refusal("POST", path, json={"inputs": batch}, headers={"Idempotency-Key": ""}))[0]
