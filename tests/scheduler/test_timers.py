"""The thread that fires: on time, after edits, over outages and jumps of the clock, beside others like it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from make_settings import make_settings

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.announcements import Announcements
from autogpt_server.data.database import Database
from autogpt_server.data.firing import Firing
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import Unavailable
from autogpt_server.events.nudge import Nudger
from autogpt_server.model import clock
from autogpt_server.model.schedule import MisfirePolicy, Schedule
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.planning import plan
from autogpt_server.scheduler.timers import Timers
from autogpt_server.service.pulse import Pulse
from tests.data.schedule_rows import executions, ledger, make_schedule, stored_graph
from tests.make_graph import make_graph, store_graph

GRACE = timedelta(seconds=30)
PATIENCE = 20.0


class Clock:
    """A wall clock that a test sets; it stands still in between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC)
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "now_ms", lambda: clock.to_ms(self.now))


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Iterator[Callable[[], Timers]]:
    running: list[Timers] = []
    nudger = Nudger(tmp_path)

    def start_one() -> Timers:
        timers = Timers(database, nudger, GRACE)
        running.append(timers)
        timers.start()
        return timers

    yield start_one
    for timers in running:
        timers.stop()
        assert not timers.is_alive
    nudger.close()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def add(database: Database, graph_id: str, **fields: Any) -> Schedule:
    first = clock.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    schedule = make_schedule(graph_id, **{"cron": "* * * * *", "next_run_at": first} | fields)
    Schedules(database, lambda ids: None).create(schedule, job_row(schedule))
    return schedule


def next_of(database: Database, schedule: Schedule) -> datetime | None:
    found = Schedules(database, lambda ids: None).find(schedule.id)
    return None if found is None else found.next_run_at


def test_a_schedule_fires_when_it_is_due_and_is_moved_on(
    database: Database, wall: Clock, start: Callable[[], Timers]
) -> None:
    schedule = add(database, stored_graph(database))
    timers = start()
    until(lambda: timers.last_turn is not None)
    assert executions(database) == []
    wall.now += timedelta(seconds=1)
    timers.hear([schedule.id])
    until(lambda: next_of(database, schedule) == wall.now + timedelta(minutes=1))
    assert ledger(database) == [("fired", None, True)]
    with database.read() as c:
        assert c.execute("SELECT next_run_time FROM apscheduler_jobs").scalars() == [wall.now.timestamp() + 60]


def test_it_fires_by_itself_without_being_told_anything(database: Database, start: Callable[[], Timers]) -> None:
    soon = clock.from_ms(clock.now_ms() + 1500)
    add(database, stored_graph(database), cron="", run_at=soon, next_run_at=soon)
    start()
    until(lambda: executions(database))
    with database.read() as c:
        row = c.execute('SELECT "scheduledAt","firedAt" FROM "AgentScheduleSlot"').one()
    scheduled_at, fired_at = map(database.from_column, row)
    assert scheduled_at == soon
    assert timedelta() <= fired_at - scheduled_at < timedelta(seconds=1)


def test_an_edit_takes_effect_without_waiting(database: Database, start: Callable[[], Timers]) -> None:
    graph_id = stored_graph(database)
    timers = start()
    until(lambda: timers.last_turn is not None)
    soon = clock.from_ms(clock.now_ms())
    schedule = make_schedule(graph_id, cron="", run_at=soon, next_run_at=soon)
    Schedules(database, timers.hear).create(schedule, job_row(schedule))
    began = time.monotonic()
    until(lambda: executions(database))
    # It would look by itself after five seconds.
    assert time.monotonic() - began < 3


def test_what_is_changed_elsewhere_is_heard_on_postgresql(postgresql_url: str, tmp_path: Path) -> None:
    database = Database.from_settings(make_settings(tmp_path, postgresql_url))
    heard: list[list[str]] = []
    announcements = Announcements(database.url, lambda ids: heard.append(list(ids)))
    announcements.start()
    until(lambda: heard == [[]])
    schedule = make_schedule("g")
    Schedules(database, lambda ids: None).create(schedule, None)
    until(lambda: [schedule.id] in heard)
    announcements.stop()
    database.close()


def test_many_timers_fire_each_slot_once(database: Database, wall: Clock, start: Callable[[], Timers]) -> None:
    graph_id = stored_graph(database)
    schedules = [add(database, graph_id) for _ in range(30)]
    several = [start() for _ in range(3)]
    for _ in range(4):
        wall.now += timedelta(minutes=1)
        for timers in several:
            timers.hear([one.id for one in schedules])
        due = wall.now.replace(second=0) + timedelta(minutes=1)
        until(lambda due=due: all(next_of(database, one) == due for one in schedules))
    assert len(executions(database)) == len(ledger(database)) == 4 * 30


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [
        (MisfirePolicy.SKIP, ["skipped"]),
        (MisfirePolicy.LATEST, ["skipped", "late"]),
        (MisfirePolicy.ALL, ["late"] * 6),
    ],
)
def test_a_clock_that_jumps_an_hour_ahead_is_noticed(
    database: Database, wall: Clock, start: Callable[[], Timers], policy: MisfirePolicy, outcomes: list[str]
) -> None:
    schedule = add(database, stored_graph(database), cron="*/10 * * * *", misfire_policy=policy)
    start()
    wall.now += timedelta(hours=1, seconds=-50)
    until(lambda: next_of(database, schedule) == datetime(2026, 3, 1, 13, 0, tzinfo=UTC))
    assert [row[0] for row in ledger(database)] == outcomes


def test_a_clock_that_is_put_back_fires_nothing_again(
    database: Database, wall: Clock, start: Callable[[], Timers]
) -> None:
    schedule = add(database, stored_graph(database))
    timers = start()
    wall.now += timedelta(seconds=1)
    timers.hear([schedule.id])
    until(lambda: next_of(database, schedule) == wall.now + timedelta(minutes=1))
    fired_at = wall.now
    wall.now -= timedelta(hours=1)
    timers.hear([])
    # It goes on as the clock shows, and so comes to that slot a second time.
    until(lambda: next_of(database, schedule) == wall.now + timedelta(minutes=1))
    wall.now = fired_at
    timers.hear([schedule.id])
    until(lambda: next_of(database, schedule) == fired_at + timedelta(minutes=1))
    with database.read() as c:
        times = c.execute('SELECT "scheduledAt" FROM "AgentGraphExecution"').scalars()
    assert [database.from_column(one) for one in times].count(fired_at) == 1


def test_an_outage_of_the_database_loses_no_slot_and_no_thread(
    database: Database, wall: Clock, start: Callable[[], Timers], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = add(database, stored_graph(database))
    is_away = threading.Event()
    for kind, name in ((Firing, "fire"), (Firing, "advance"), (Schedules, "due"), (Schedules, "read")):
        whole = getattr(kind, name)

        def call(*args: Any, whole: Callable[..., Any] = whole, **kwargs: Any) -> Any:
            if is_away.is_set():
                raise Unavailable("away")
            return whole(*args, **kwargs)

        monkeypatch.setattr(kind, name, call)
    timers = start()
    until(lambda: timers.last_turn is not None)
    is_away.set()
    wall.now += timedelta(seconds=1)
    timers.hear([schedule.id])
    until(lambda: timers.trouble is not None)
    is_away.clear()
    until(lambda: next_of(database, schedule) == wall.now + timedelta(minutes=1))
    until(lambda: timers.trouble is None)
    assert ledger(database) == [("fired", None, True)]


def test_signs_end_while_it_stands_still_and_go_on_while_it_waits_for_the_database(
    database: Database, wall: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = add(database, stored_graph(database))
    promises: list[float] = []
    pulse = Pulse(promises.append, 0.5)
    is_free, stands, fire = threading.Event(), threading.Event(), Firing.fire

    def stand_still(*args: Any, **kwargs: Any) -> Any:
        stands.set()
        assert is_free.wait(PATIENCE)
        return plan(*args, **kwargs)

    def wait_for_database(*args: Any, **kwargs: Any) -> Any:
        told = len(promises)
        # The other parts turn, and signs go on.
        until(lambda: (main.turn(), len(promises) > told + 2)[1])
        return fire(*args, **kwargs)

    monkeypatch.setattr("autogpt_server.scheduler.timers.plan", stand_still)
    monkeypatch.setattr(Firing, "fire", wait_for_database)
    main = pulse.part()
    with contextlib.closing(Nudger(tmp_path)) as nudger:
        timers = Timers(database, nudger, GRACE)
        timers.start(pulse)
        pulse.begin()
        # It turns also while there is nothing to do.
        until(lambda: (main.turn(), len(promises) > 2)[1])
        wall.now += timedelta(seconds=1)
        timers.hear([schedule.id])
        assert stands.wait(PATIENCE)
        main.turn()
        told, end = len(promises), time.monotonic() + 4 * pulse.pause
        while time.monotonic() < end:
            main.turn()
            time.sleep(pulse.pause / 10)
        assert len(promises) <= told + 1
        is_free.set()
        until(lambda: executions(database))
        timers.stop()


def die_after_firing(
    database: Database, start: Callable[[], Timers], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Fire what is due until so many slots are written, and end before the schedules are moved on."""
    with monkeypatch.context() as patched:
        patched.setattr(Firing, "advance", lambda *_: (_ for _ in ()).throw(Unavailable("crash")))
        first = start()
        until(lambda: len(ledger(database)) >= count)
        first.stop()


def test_a_crash_between_firing_and_moving_on_fires_nothing_again(
    database: Database, wall: Clock, start: Callable[[], Timers], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = add(database, stored_graph(database))
    wall.now += timedelta(seconds=1)
    die_after_firing(database, start, monkeypatch, 1)
    assert next_of(database, schedule) == wall.now
    start()
    until(lambda: next_of(database, schedule) == wall.now + timedelta(minutes=1))
    assert len(executions(database)) == 1


@pytest.mark.parametrize("policy", MisfirePolicy)
@pytest.mark.parametrize("seconds", [61, 170, 200])
def test_a_crash_between_firing_and_moving_on_and_a_long_rest_leave_no_gap(
    database: Database,
    wall: Clock,
    start: Callable[[], Timers],
    monkeypatch: pytest.MonkeyPatch,
    policy: MisfirePolicy,
    seconds: int,
) -> None:
    schedule = add(database, stored_graph(database), misfire_policy=policy, misfire_limit=2)
    wall.now += timedelta(seconds=seconds)
    die_after_firing(database, start, monkeypatch, 1)
    wall.now += timedelta(minutes=5)
    start()
    until(lambda: (next_of(database, schedule) or wall.now) > wall.now)
    covered: list[datetime] = []
    with database.read() as c:
        rows = c.execute('SELECT "scheduledAt","lastScheduledAt","count" FROM "AgentScheduleSlot"').all()
    for first, last, count in rows:
        times = (database.from_column(last or first) - database.from_column(first)) // timedelta(minutes=1) + 1
        assert times == count
        covered += [database.from_column(first) + i * timedelta(minutes=1) for i in range(times)]
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert sorted(covered) == [noon + i * timedelta(minutes=1) for i in range((wall.now - noon).seconds // 60 + 1)]


def test_a_crash_between_firing_and_moving_on_costs_no_run_of_those_it_may(
    database: Database, wall: Clock, start: Callable[[], Timers], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = add(database, stored_graph(database), max_runs=2)
    wall.now += timedelta(seconds=1)
    die_after_firing(database, start, monkeypatch, 1)
    timers = start()
    until(lambda: next_of(database, schedule) == wall.now + timedelta(minutes=1))
    wall.now += timedelta(minutes=1)
    timers.hear([])
    until(lambda: next_of(database, schedule) is None)
    assert [row[0] for row in ledger(database)] == ["fired", "fired"]


def test_inputs_that_do_not_fit_the_active_version_fail_the_slot_and_say_why(
    database: Database, wall: Clock, start: Callable[[], Timers]
) -> None:
    registry = load_registry()
    graph = make_graph(registry, {"in": ("AgentInputBlock", {"name": "wanted"})})
    store_graph(database, registry, graph)
    fits = add(database, graph.id, graph_version=None, checked_version=7, inputs={"wanted": 1})
    differs = add(database, graph.id, graph_version=None, checked_version=7, inputs={"other": 1})
    timers = start()
    wall.now += timedelta(seconds=1)
    timers.hear([])
    until(lambda: next_of(database, differs) == wall.now + timedelta(minutes=1))
    assert [row[0] for row in executions(database)] == [fits.id]
    (reason,) = [row[1] for row in ledger(database) if row[0] == "failed"]
    assert reason.startswith("its inputs do not fit version 1 of the graph: inputs.other: the graph has no input")
