"""Who fires schedules while somebody sets the clock: an hour ahead, an hour back, ten years ahead, and right again.

What is due is decided about in bounded work, each slot leads to one execution at most, and the next run is right.
"""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.firing import MANY_SLOTS, Firing
from autogpt_server.data.firing_plans import Plan
from autogpt_server.data.schedules import Schedules
from autogpt_server.events.nudge import Nudger
from autogpt_server.model import clock
from autogpt_server.model.schedule import MisfirePolicy, Schedule
from autogpt_server.scheduler import timers
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.planning import MAX_COUNTED
from autogpt_server.scheduler.reconcile import Reconciler
from autogpt_server.scheduler.timers import Timers
from tests.data.schedule_rows import make_schedule, stored_graph

SKIP, LATEST, ALL = MisfirePolicy
MINUTE = timedelta(minutes=1)
#: The first slot of every schedule here.
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE = 40.0


class World:
    """Timers on a database, under a clock that stands still until it is set."""

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = FIRST - timedelta(seconds=1)
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "now_ms", lambda: clock.to_ms(self.now))
        self.database, self.graph_id = database, stored_graph(database)
        self.nudger = Nudger(folder)
        self.timers, self.idle = Timers(database, self.nudger, timedelta(seconds=10)), threading.Event()
        self.tell_when_idle()

    def add(self, policy: MisfirePolicy, limit: int = 1000) -> Schedule:
        schedule = make_schedule(
            self.graph_id, cron="* * * * *", starts_at=FIRST, next_run_at=FIRST, misfire_policy=policy,
            misfire_limit=limit,
        )  # fmt: skip
        Schedules(self.database, self.timers.hear).create(schedule, job_row(schedule))
        return schedule

    def set(self, moment: datetime) -> None:
        """Set the clock, and wait until that was noticed and everything is decided about that is due then."""
        self.now = moment
        self.idle.clear()
        self.timers.hear([""])
        assert self.idle.wait(PATIENCE)
        assert self.timers.trouble is None

    def tell_when_idle(self) -> None:
        """See when the timers have done everything, and wait."""
        seconds_to_wait = self.timers._seconds_to_wait

        def look() -> float:
            seconds = seconds_to_wait()
            if seconds > 0:
                self.idle.set()
            return seconds

        self.timers._seconds_to_wait = look

    def next(self, schedule: Schedule) -> datetime | None:
        """When it fires next, which its job row says as well."""
        found = Schedules(self.database, lambda ids: None).find(schedule.id)
        assert found is not None
        with self.database.read() as c:
            text = self.database.sql("SELECT next_run_time FROM apscheduler_jobs WHERE id = ?")
            at = c.execute(text, (schedule.id,)).scalar()
        assert at == (None if found.next_run_at is None else found.next_run_at.timestamp())
        return found.next_run_at

    def slots(self, schedule: Schedule) -> list[tuple[int, str, int | None]]:
        """(minutes after the first, outcome, count) of what stands in the ledger, by time."""
        text = """
SELECT "scheduledAt","outcome","count" FROM "AgentScheduleSlot" WHERE "scheduleId" = ? ORDER BY "scheduledAt"
"""
        with self.database.read() as c:
            rows = c.execute(self.database.sql(text), (schedule.id,)).all()
        return [((self.database.from_column(row[0]) - FIRST) // MINUTE, row[1], row[2]) for row in rows]

    def executed(self, schedule: Schedule) -> list[int]:
        """Minutes after the first of the slots that have an execution, by time."""
        text = 'SELECT "scheduledAt" FROM "AgentGraphExecution" WHERE "scheduleId" = ? ORDER BY "scheduledAt"'
        with self.database.read() as c:
            times = c.execute(self.database.sql(text), (schedule.id,)).scalars()
        return [(self.database.from_column(one) - FIRST) // MINUTE for one in times]


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(database, tmp_path, monkeypatch)
    world.timers.start()
    yield world
    world.timers.stop(20)
    assert not world.timers.is_alive
    world.nudger.close()


def test_an_hour_ahead_is_an_hour_of_missed_slots(world: World) -> None:
    skip, latest, every, some = world.add(SKIP), world.add(LATEST), world.add(ALL), world.add(ALL, 10)
    world.set(FIRST)
    # From 12:01 to 13:00, the last of them 40 seconds ago.
    world.set(FIRST + timedelta(minutes=60, seconds=40))
    assert world.slots(skip) == [(0, "fired", 1), (1, "skipped", 60)]
    assert world.slots(latest) == [(0, "fired", 1), (1, "skipped", 59), (60, "late", 1)]
    assert world.slots(every) == [(0, "fired", 1), *((i, "late", 1) for i in range(1, 61))]
    assert world.slots(some) == [(0, "fired", 1), (1, "skipped", 50), *((i, "late", 1) for i in range(51, 61))]
    assert [world.executed(one) for one in (skip, latest)] == [[0], [0, 60]]
    assert [world.executed(one) for one in (every, some)] == [[*range(61)], [0, *range(51, 61)]]
    assert {world.next(one) for one in (skip, latest, every, some)} == {FIRST + 61 * MINUTE}
    world.set(FIRST + 61 * MINUTE)
    assert [world.executed(one)[-1] for one in (skip, latest, every, some)] == [61] * 4


@pytest.mark.parametrize("policy", list(MisfirePolicy))
def test_an_hour_back_fires_nothing_again(world: World, policy: MisfirePolicy) -> None:
    schedule = world.add(policy)
    for i in range(3):
        world.set(FIRST + i * MINUTE)
    world.set(FIRST - timedelta(minutes=58))
    assert world.executed(schedule) == [0, 1, 2]
    # What the clock shows once more was executed when it did so first.
    for i in range(3):
        world.set(FIRST + i * MINUTE)
    assert world.executed(schedule) == [0, 1, 2]
    world.set(FIRST + 3 * MINUTE)
    assert (world.executed(schedule)[-1], world.next(schedule)) == (3, FIRST + 4 * MINUTE)


def test_ten_years_ahead_are_decided_about_in_bounded_work_and_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    whole = Firing.fire

    def fire(self: Firing, plans: list[Plan]) -> object:
        sizes.append(sum(len(one.slots) for one in plans))
        return whole(self, plans)

    monkeypatch.setattr(Firing, "fire", fire)
    later = datetime(2036, 3, 1, 12, 0, 40, tzinfo=UTC)
    last = (later - FIRST) // MINUTE
    skip, latest = world.add(SKIP), world.add(LATEST)
    every = [world.add(ALL, MAX_COUNTED) for _ in range(4)]
    tracemalloc.start()
    began = time.process_time()
    world.set(later)
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Most of the five million slots are not even counted.
    assert world.slots(skip) == [(0, "skipped", None), (last, "skipped", 1)]
    assert world.slots(latest) == [(0, "skipped", None), (last, "late", 1)]
    assert (world.executed(skip), world.executed(latest)) == ([], [last])
    for one in every:
        assert world.slots(one)[0] == (0, "skipped", None)
        assert world.executed(one) == [*range(last - MAX_COUNTED + 1, last + 1)]
    assert {world.next(one) for one in (skip, latest, *every)} == {datetime(2036, 3, 1, 12, 1, tzinfo=UTC)}
    # In parts, so that others write in between.
    assert len(sizes) > 1
    assert max(sizes) < MANY_SLOTS + MAX_COUNTED + 2
    assert peak < 30_000_000
    assert seconds < 20


@pytest.mark.parametrize("policy", list(MisfirePolicy))
def test_a_clock_that_was_ten_years_ahead_is_forgotten_when_it_is_right_again(
    world: World, policy: MisfirePolicy
) -> None:
    schedule = world.add(policy, 3)
    world.set(FIRST)
    ahead = datetime(2036, 3, 1, 12, 0, 40, tzinfo=UTC)
    world.set(ahead)
    last = (ahead - FIRST) // MINUTE
    made_up_for = {SKIP: [], LATEST: [last], ALL: [last - 2, last - 1, last]}[policy]
    assert world.executed(schedule) == [0, *made_up_for]
    # Where it would have been had nobody touched the clock.
    world.set(FIRST + timedelta(minutes=1, seconds=30))
    assert world.next(schedule) == FIRST + 2 * MINUTE
    for i in (2, 3):
        world.set(FIRST + i * MINUTE)
    assert world.executed(schedule) == [0, 2, 3, *made_up_for]
    assert world.next(schedule) == FIRST + 4 * MINUTE


def test_who_starts_after_the_clock_was_put_right_finds_what_it_carried_away(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database, tmp_path, monkeypatch)
    carried = world.add(LATEST)
    world.timers.start()
    world.set(datetime(2036, 3, 1, 12, tzinfo=UTC))
    world.timers.stop(20)
    world.nudger.close()
    world.now = FIRST + timedelta(seconds=30)
    # Its first slot lies ahead, and nobody has decided about that.
    fresh = make_schedule(world.graph_id, cron="0 0 1 1 *", next_run_at=datetime(2027, 1, 1, tzinfo=UTC))
    Schedules(database, lambda ids: None).create(fresh, job_row(fresh))
    told: list[str] = []
    for _ in range(2):
        Reconciler(database, told.extend).run()
    assert told == [carried.id]
    assert (world.next(carried), world.next(fresh)) == (FIRST + MINUTE, fresh.next_run_at)


def test_what_was_fired_is_moved_on_while_more_is_due(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    for name in ("fire", "advance"):
        whole = getattr(Firing, name)

        def step(self: Firing, *args: Any, whole: Any = whole, name: str = name) -> Any:
            steps.append(name)
            return whole(self, *args)

        monkeypatch.setattr(Firing, name, step)
    monkeypatch.setattr(timers, "_FIRING_SECONDS", 0.0)
    monkeypatch.setattr(timers, "MAX_BATCH", 2)
    made = [world.add(ALL) for _ in range(6)]
    steps.clear()
    world.set(FIRST)
    assert len(steps) >= 6
    assert steps == ["fire", "advance"] * (len(steps) // 2)
    assert [world.executed(one) for one in made] == [[0]] * 6
