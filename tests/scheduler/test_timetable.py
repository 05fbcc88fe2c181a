"""When schedules of each kind are due, in which order, and what is found of a past that nobody looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger

from autogpt_server.scheduler.timetable import due_at, latest_slots, slots_between, timetable_of
from tests.data.schedule_rows import NOON, make_schedule

DAY = timedelta(days=1)


def slots(count: int, trigger: object = None, **fields: object) -> list[datetime]:
    timetable = timetable_of(make_schedule("g", **fields), trigger)  # type: ignore[arg-type]
    return list(islice(slots_between(timetable, NOON, NOON + 9000 * DAY), count))


def test_cron_comes_by_its_expression_and_zone() -> None:
    assert slots(2, cron="0 9 * * *", timezone="Asia/Tokyo") == [NOON + timedelta(hours=12), NOON + timedelta(hours=36)]


def test_a_single_run_comes_once() -> None:
    assert slots(2, cron="", run_at=NOON + DAY) == [NOON + DAY]
    assert slots(2, cron="", run_at=NOON - DAY) == []


def test_an_interval_is_counted_from_its_start_or_from_when_it_was_made() -> None:
    assert slots(2, cron="", interval_seconds=90) == [NOON + timedelta(seconds=90), NOON + timedelta(seconds=180)]
    late = NOON + timedelta(seconds=5)
    assert slots(2, cron="", interval_seconds=90, starts_at=late) == [late, late + timedelta(seconds=90)]
    early = NOON - timedelta(seconds=5)
    assert slots(1, cron="", interval_seconds=90, starts_at=early) == [early + timedelta(seconds=90)]


def test_bounds_are_part_of_the_schedule() -> None:
    bounds = {"starts_at": NOON + DAY, "ends_at": NOON + 3 * DAY}
    assert slots(9, **bounds) == [NOON + DAY, NOON + 2 * DAY, NOON + 3 * DAY]


def test_an_adopted_trigger_keeps_its_own_numbering() -> None:
    monday_here = slots(1, cron="0 0 * * 0", trigger=None)
    foreign = slots(1, CronTrigger.from_crontab("0 0 * * 0", timezone=UTC), cron="0 0 * * 0")
    assert [day.strftime("%A") for day in (*monday_here, *foreign)] == ["Sunday", "Monday"]
    assert slots(5, DateTrigger(NOON + DAY)) == [NOON + DAY]


def test_the_latest_slots_of_ten_years_are_found_without_walking_through_them() -> None:
    last = datetime(2036, 2, 1, tzinfo=UTC)
    for cron, days in (("* * * * *", 1), ("0 0 29 2 *", 9 * 366), ("*/7 3 * 1 *", 3)):
        timetable = timetable_of(make_schedule("g", cron=cron))
        every = list(slots_between(timetable, last - days * DAY, last))
        assert latest_slots(timetable, NOON, last, 2) == every[-2:]


def test_jitter_is_the_same_for_a_slot_and_differs_between_slots_and_schedules() -> None:
    schedules = [make_schedule("g", jitter_seconds=60) for _ in range(20)]
    moments = {due_at(one, NOON + i * DAY) - i * DAY for one in schedules for i in range(20)}
    assert len(moments) > 350
    assert min(moments) < NOON + timedelta(seconds=5)
    assert max(moments) > NOON + timedelta(seconds=55)
    assert all(NOON <= moment < NOON + timedelta(seconds=60) for moment in moments)
    assert due_at(schedules[0], NOON) == due_at(schedules[0], NOON)
