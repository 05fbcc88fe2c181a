from __future__ import annotations

import time
from typing import Any

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.leases import Leases
from autogpt_server.server.executor_watch import ExecutorWatch


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


async def test_an_executor_lives_while_its_beat_changes(sqlite_database: Database, clock: Clock):
    leases: Any = Leases(sqlite_database)
    watch = ExecutorWatch(leases, lease_seconds=10)
    lease = leases.register("here", 1)
    assert await watch.look() == [0.0]

    clock.now += 9
    assert await watch.look() == [9.0]
    with sqlite_database.write() as connection:
        leases.bump(connection, lease)
    assert await watch.look() == [0.0]

    clock.now += 11
    assert await watch.look() == []


async def test_a_lease_that_was_given_back_is_forgotten(sqlite_database: Database, clock: Clock):
    leases = Leases(sqlite_database)
    watch = ExecutorWatch(leases, lease_seconds=10)
    lease = leases.register("here", 1)
    await watch.look()
    leases.end(lease)
    assert await watch.look() == []
    assert watch._seen == {}
