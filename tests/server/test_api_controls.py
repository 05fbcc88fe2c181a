"""Pausing, resuming and stopping as clients do it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.server.conftest import Api, Nodes
from tests.server.test_api_executions import events

pytestmark = pytest.mark.asyncio(loop_scope="module")


def gated(gate: str) -> tuple[Nodes, list[str]]:
    """A node that waits for a file, and one behind it."""
    return (
        {"gate": ("PidBlock", {"path": gate}), "out": ("AgentOutputBlock", {"name": "pid"})},
        ["gate.value -> out.value"],
    )


def user_folder(api: Api) -> Path:
    return api.settings.files_dir / DEFAULT_USER_ID


async def until(api: Api, execution_id: str, status: str, nodes: int = 0) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            execution = await api.call("GET", f"/executions/{execution_id}", 200)
            if execution["status"] == status and len(execution["node_executions"]["items"]) >= nodes:
                return execution
            await asyncio.sleep(0.01)


async def test_a_pause_shows_everywhere_and_a_resume_ends_it(running: Api):
    api, gate = running, new_id()
    graph_id = await api.stored(*gated(gate))
    execution_id = (await api.call("POST", f"/graphs/{graph_id}/execute", 202))["id"]
    following = asyncio.create_task(events(api, execution_id))
    await until(api, execution_id, "RUNNING", nodes=1)

    asked = await api.call("POST", f"/executions/{execution_id}/pause", 200)
    assert asked["status"] == "RUNNING"
    assert asked["pause_requested_at"].endswith("Z")
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
