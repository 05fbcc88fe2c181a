"""Credentials are opened right before a run; where they cannot be, the node ends and says why."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.executor.conftest import Bench

FAILED, TERMINATED = ExecutionStatus.FAILED, ExecutionStatus.TERMINATED
META = {"id": new_id(), "provider": "acme", "type": "api_key"}


def web(credentials: Any) -> Any:
    return {"web": ("SendWebRequestBlock", {"url": "http://127.0.0.1:9/", "credentials": credentials})}


async def test_unknown_ones_fail_the_node_by_the_name_of_the_pin(running: Bench) -> None:
    execution = await running.execute(web(META))
    assert execution.status is FAILED
    node = running.node(execution, "web")
    assert node.error == f"credentials on the pin 'credentials': Credentials {META['id']} not found."
    assert node.input_data["credentials"] == META


async def test_a_defect_while_they_are_opened_ends_the_node_and_shows_nothing(
    running: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> Any:
        raise ValueError("hush")

    assert running.running is not None
    monkeypatch.setattr(running.running._credentials, "open", fail)
    with caplog.at_level(logging.INFO):
        execution = await running.execute(web(META))
    assert execution.status is FAILED
    assert running.node(execution, "web").error == "the credentials cannot be opened now"
    assert "hush" not in caplog.text


async def test_a_node_that_waits_for_them_is_stopped(running: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = asyncio.Event()

    async def wait(*_: Any) -> Any:
        waiting.set()
        await asyncio.Event().wait()

    assert running.running is not None
    monkeypatch.setattr(running.running._credentials, "open", wait)
    execution_id = await running.submit(running.store(web(META)))
    await asyncio.wait_for(waiting.wait(), 20)
    await running.submitter.stop(DEFAULT_USER_ID, execution_id)
    assert (await running.ended(execution_id)).status is TERMINATED
    assert running.nodes(execution_id)[0].status is TERMINATED
