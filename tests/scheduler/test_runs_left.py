"""Whether a schedule has a run to come, however its days are excluded, and which field is in the way."""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import Any

import pytest

from autogpt_server.model.schedule import ExcludedDates
from autogpt_server.scheduler.runs_left import find_problem
from tests.data.schedule_rows import NOON, make_schedule

TODAY, EAST = date(2026, 1, 1), "Pacific/Kiritimati"


def days(first: int, last: int) -> ExcludedDates:
    return ExcludedDates(first=TODAY + timedelta(days=first), last=TODAY + timedelta(days=last))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, None),
        ({"excluded_dates": (days(0, 3), days(2, 9))}, None),
        ({"excluded_dates": (days(0, 3), days(2, 9)), "ends_at": NOON + timedelta(days=10)}, None),
        ({"excluded_dates": (days(0, 3), days(2, 9)), "ends_at": NOON + timedelta(days=9)}, "excluded_dates"),
        ({"cron": "", "run_at": NOON, "excluded_dates": (days(0, 0),)}, "excluded_dates"),
        ({"cron": "", "run_at": NOON, "excluded_dates": (days(1, 1),)}, None),
        # Noon in UTC is the next day there.
        ({"cron": "", "run_at": NOON, "timezone": EAST, "excluded_dates": (days(1, 1),)}, "excluded_dates"),
        ({"excluded_dates": (ExcludedDates(first=TODAY, last=date.max),)}, "excluded_dates"),
        ({"max_runs": 2, "runs": 2}, "max_runs"),
        ({"max_runs": 2, "runs": 1}, None),
        ({"next_run_at": None, "ends_at": NOON}, "ends_at"),
        ({"next_run_at": None, "cron": "", "run_at": NOON}, "run_at"),
        ({"next_run_at": None, "cron": "", "run_at": NOON, "starts_at": NOON + timedelta(days=1)}, "starts_at"),
        ({"next_run_at": None}, "cron"),
    ],
)  # fmt: skip
def test_what_lets_no_run_come_is_named(fields: dict[str, Any], path: str | None) -> None:
    problem = find_problem(make_schedule("g", **fields))
    assert (problem and problem.path) == path


def test_years_of_excluded_seconds_are_not_walked_through() -> None:
    ranges = tuple(days(3650 * i, 3650 * i + 3649) for i in range(20))
    schedule = make_schedule(
        "g", cron="", interval_seconds=1, excluded_dates=ranges, ends_at=NOON + timedelta(days=3650 * 20 - 2)
    )
    begun = time.monotonic()
    problem = find_problem(schedule)
    assert problem is not None and problem.path == "excluded_dates"
    assert time.monotonic() - begun < 1
