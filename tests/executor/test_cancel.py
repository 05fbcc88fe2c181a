"""Stopping executions in real executor processes, on both databases: whatever runs, waits or ends at that moment."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from autogpt_server.data.controls import Controls
from autogpt_server.data.database import Database
from autogpt_server.events.nudge import Topic, send_nudge
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.settings import Settings
from tests.executor.test_manager import Managed
from tests.faults.checker import Checker
from tests.odd_blocks import ALL

COMPLETED, RUNNING, TERMINATED = ExecutionStatus.COMPLETED, ExecutionStatus.RUNNING, ExecutionStatus.TERMINATED


@pytest.fixture
def managed(settings: Settings, database: Database) -> Iterator[Managed]:
    changes = {
        "blocks": tuple(f"{ALL},tests.bad_blocks:StubbornBlock".split(",")),
        "executor_processes": 2,
        "drain_seconds": 1.0,
    }
    with Managed(settings.model_copy(update=changes), database) as managed:
        yield managed


def stop(managed: Managed, execution_id: str) -> None:
    reached = Controls(managed.database).stop(DEFAULT_USER_ID, execution_id)
    send_nudge(managed.settings.run_dir, Topic.CONTROL, reached.ids)


def test_a_block_that_does_not_stop_costs_its_process_and_only_its_execution(managed: Managed) -> None:
    before = set(managed.client.executor_pids())
    waiting = managed.store({"wait": ("WaitBlock", {"seconds": 2})})
    neighbours = [managed.add(waiting) for _ in range(6)]
    stubborn = managed.add(managed.store({"stubborn": ("StubbornBlock", {})}))
    managed.until(lambda: list((managed.folder / "stubborn").glob("*.*[0-9]")))

    began = time.monotonic()
    stop(managed, stubborn)
    assert managed.ended(stubborn).status is TERMINATED
    assert time.monotonic() - began < 10
    # Handed back or not, none of the others is the worse for it.
    ended = [managed.ended(n) for n in neighbours]
    assert {(n.status, n.deaths) for n in ended} == {(COMPLETED, 0)}
    managed.until(lambda: len(managed.client.executor_pids()) == 2 and set(managed.client.executor_pids()) != before)


def test_a_stop_reaches_what_is_executed_two_levels_below(managed: Managed) -> None:
    inner = managed.store({"gate": ("PidBlock", {})})
    middle = managed.store({"call": ("AgentExecutorBlock", {"graph_id": inner.id})})
    outer = managed.add(managed.store({"call": ("AgentExecutorBlock", {"graph_id": middle.id})}))
    managed.until(managed.started)

    stop(managed, outer)

    assert managed.ended(outer).status is TERMINATED
    with managed.database.read() as c:
        ids = list(c.execute('SELECT "id" FROM "AgentGraphExecution"').scalars())
    assert len(ids) == 3
    assert {managed.ended(id_).status for id_ in ids} == {TERMINATED}


def test_stops_race_with_ends_and_each_execution_ends_once(managed: Managed) -> None:
    graph = managed.store(
        {
            "a": ("RecordingBlock", {"value": 1}),
            "b": ("RecordingBlock", {}),
            "c": ("CalculatorBlock", {"operation": "Add", "b": 1}),
        },
        ["a.value -> b.value", "b.value -> c.a"],
    )
    # One that ends only when it is stopped: a plain one may always be quicker than its stop.
    endless = managed.store({"a": ("RecordingBlock", {"value": 1}), "b": ("PidBlock", {})}, ["a.value -> b.value"])
    chance = random.Random(7)
    ids = []
    for i in range(60):
        ids.append(managed.add(endless if i % 10 == 0 else graph))
        if i % 10 == 0 or chance.random() < 0.7:
            # Each takes a few milliseconds: some stops come before its start, some after its end.
            time.sleep(chance.random() ** 3 * 0.02)
            stop(managed, ids[-1] if i % 10 == 0 else chance.choice([ids[-1], *ids[-3:]]))
    statuses = [managed.ended(id_).status for id_ in ids]
    assert set(statuses) <= {COMPLETED, TERMINATED}
    # How many more of each, the machine decides.
    assert statuses.count(TERMINATED) >= 6
    assert COMPLETED in statuses
    with managed.database.read() as c:
        assert Checker(c).problems(ids) == []
