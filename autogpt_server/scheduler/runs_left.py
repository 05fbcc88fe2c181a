"""Whether a schedule has a run to come, and if not, which of its fields keeps it from running."""

from __future__ import annotations

from apscheduler.triggers.base import BaseTrigger

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.exclusions import first_not_excluded
from autogpt_server.scheduler.timetable import timetable_of


def check_runs_left(schedule: Schedule, trigger: BaseTrigger | None = None) -> None:
    """Refuse a schedule that would never run.

    Args:
        schedule: With its next slot.
        trigger: Of an adopted one.

    Raises:
        InvalidError: Names the field that lets no run come.
    """
    problem = find_problem(schedule, trigger)
    if problem is not None:
        raise InvalidError("The schedule would never run.", [problem])


def find_problem(schedule: Schedule, trigger: BaseTrigger | None = None) -> Problem | None:
    """Return what lets no run come; None where one does."""
    if schedule.max_runs is not None and schedule.runs >= schedule.max_runs:
        return Problem("max_runs", f"it has run {schedule.runs} times already", "let it run more often")
    if schedule.next_run_at is None:
        return _never(schedule)
    if not schedule.excluded_dates:
        return None
    if first_not_excluded(schedule, timetable_of(schedule, trigger), schedule.next_run_at) is None:
        return Problem("excluded_dates", "no run is left on another day", "exclude fewer days")
    return None


def _never(schedule: Schedule) -> Problem:
    starts_at, run_at = schedule.starts_at, schedule.run_at
    if run_at is not None and starts_at is not None and run_at < starts_at:
        return Problem("starts_at", "lies after the only run", "give it an earlier start, or none")
    if schedule.ends_at is not None:
        return Problem("ends_at", "no run comes before it", "give it a later end")
    if run_at is not None:
        return Problem("run_at", "is over", "give it a time in the future")
    return Problem("cron", "no run comes", "give it times in the future")
