"""What becomes of slots that are due: by policy, by excluded days, and however long nobody has looked."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from autogpt_server.data.firing_plans import Plan
from autogpt_server.model.schedule import ExcludedDates, MisfirePolicy, Schedule
from autogpt_server.scheduler.planning import BEYOND_LIMIT, MISSED, SUPERSEDED, plan
from autogpt_server.scheduler.timetable import due_at, timetable_of
from tests.data.schedule_rows import NOON, make_schedule

GRACE = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
SKIP, LATEST, ALL = MisfirePolicy


def decide(schedule: Schedule, now: datetime) -> Plan:
    found = plan(schedule, timetable_of(schedule), now, GRACE)
    assert found is not None
    return found


def every_minute(policy: MisfirePolicy = LATEST, **more: Any) -> Schedule:
    return make_schedule("g", cron="* * * * *", misfire_policy=policy, **more)


def told(found: Plan) -> list[tuple[Any, ...]]:
    """(minutes after noon, outcome, reason, minutes of the last one, count)"""
    return [
        (
            (slot.scheduled_at - NOON) // MINUTE,
            slot.outcome.value,
            slot.reason,
            None if slot.last_scheduled_at is None else (slot.last_scheduled_at - NOON) // MINUTE,
            slot.count,
        )
        for slot in found.slots
    ]


def test_a_slot_in_time_fires_whatever_the_policy() -> None:
    for policy in MisfirePolicy:
        found = decide(every_minute(policy), NOON + timedelta(milliseconds=5))
        assert told(found) == [(0, "fired", None, None, 1)]
        assert found.slots[0].execution_id is not None
        assert found.next_run_at == NOON + MINUTE


def test_nothing_is_decided_before_the_time() -> None:
    schedule = every_minute(jitter_seconds=50)
    moment = due_at(schedule, NOON)
    assert plan(schedule, timetable_of(schedule), moment - timedelta(milliseconds=1), GRACE) is None
    assert told(decide(schedule, moment)) == [(0, "fired", None, None, 1)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (SKIP, [(0, "skipped", MISSED, 4, 5), (5, "fired", None, None, 1)]),
        (LATEST, [(0, "skipped", SUPERSEDED, 4, 5), (5, "fired", None, None, 1)]),
        (ALL, [*((i, "late", None, None, 1) for i in range(5)), (5, "fired", None, None, 1)]),
    ],
)
def test_missed_slots_go_by_the_policy_beside_one_in_time(policy: MisfirePolicy, expected: list[Any]) -> None:
    found = decide(every_minute(policy), NOON + 5 * MINUTE)
    assert told(found) == expected
    assert found.next_run_at == NOON + 6 * MINUTE


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (SKIP, [(0, "skipped", MISSED, 5, 6)]),
        (LATEST, [(0, "skipped", SUPERSEDED, 4, 5), (5, "late", None, None, 1)]),
        (ALL, [(0, "skipped", BEYOND_LIMIT, 2, 3), *((i, "late", None, None, 1) for i in (3, 4, 5))]),
    ],
)
def test_missed_slots_go_by_the_policy_alone(policy: MisfirePolicy, expected: list[Any]) -> None:
    assert told(decide(every_minute(policy, misfire_limit=3), NOON + 5.7 * MINUTE)) == expected


@pytest.mark.parametrize("policy", list(MisfirePolicy))
def test_ten_years_are_decided_about_in_little_time_and_memory(policy: MisfirePolicy) -> None:
    schedule = every_minute(policy, misfire_limit=3)
    now = datetime(2036, 1, 1, 12, 0, 10, tzinfo=UTC)
    began = time.process_time()
    found = decide(schedule, now)
    assert time.process_time() - began < 2
    first, *rest = found.slots
    assert (first.scheduled_at, first.outcome, first.count) == (NOON, "skipped", None)
    assert first.last_scheduled_at is not None
    fired = [slot for slot in rest if slot.execution_id]
    assert len(rest) == len(fired) == (3 if policy is ALL else 1)
    assert first.last_scheduled_at + MINUTE == rest[0].scheduled_at
    assert fired[-1].scheduled_at == datetime(2036, 1, 1, 12, tzinfo=UTC)
    assert found.next_run_at == datetime(2036, 1, 1, 12, 1, tzinfo=UTC)


def test_excluded_days_are_skipped_in_the_zone_of_the_schedule_and_say_why() -> None:
    # 12:00 UTC is already the second of January in Kiritimati.
    days = (ExcludedDates(first=date(2026, 1, 2), last=date(2026, 1, 3), reason="holidays"),)
    schedule = make_schedule(
        "g", cron="0 2 * * *", timezone="Pacific/Kiritimati", excluded_dates=days, misfire_policy=ALL
    )
    found = decide(schedule, NOON + timedelta(days=2))
    assert [(slot.outcome, slot.reason) for slot in found.slots] == [
        ("skipped", "2026-01-02 is excluded: holidays"),
        ("skipped", "2026-01-03 is excluded: holidays"),
        ("fired", None),
    ]


def test_the_last_run_of_all_has_none_after_it() -> None:
    assert decide(make_schedule("g", cron="", run_at=NOON), NOON).next_run_at is None
    assert decide(every_minute(ends_at=NOON), NOON).next_run_at is None
