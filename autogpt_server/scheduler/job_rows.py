"""The job rows of schedules: what APScheduler 3 would have stored, for whoever reads its table.

A row is the pickle of a job's state.  It names its function by a path that never changes.
"""

from __future__ import annotations

import functools
import logging
import pickle
from datetime import datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from autogpt_server.data.job_tables import JobRow
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.timetable import due_at
from autogpt_server.scheduler.triggers import UnixCronTrigger
from autogpt_server.scheduler.zones import parse_zone

log = logging.getLogger(__name__)

#: Where whoever runs a job finds its function.
EXECUTE_GRAPH = "autogpt_server.scheduler.jobs:execute_graph"
#: Of APScheduler's job states.
_VERSION = 1


def job_row(schedule: Schedule, trigger: BaseTrigger | None = None) -> JobRow | None:
    """Make the row of a schedule; None where it will never fire again by itself.

    Args:
        schedule: As it is stored.
        trigger: Of an adopted one; for others it is made.
    """
    if schedule.next_run_at is None and schedule.is_enabled:
        return None
    at = None if schedule.next_run_at is None else due_at(schedule, schedule.next_run_at)
    trigger = _trigger(schedule) if trigger is None else trigger
    return JobRow(schedule.id, at, pickle.dumps(job_state(schedule, trigger, at), pickle.HIGHEST_PROTOCOL))


def row_again(schedule: Schedule) -> JobRow | None:
    """Make the row of a schedule that somebody removed; that of an adopted one went by its trigger, which is lost."""
    try:
        trigger = None
        if schedule.is_adopted and schedule.cron:
            trigger = CronTrigger.from_crontab(schedule.cron, timezone=parse_zone(schedule.timezone))
        return job_row(schedule, trigger)
    except ValueError as error:
        log.error("schedule %s gets no job row: %s", schedule.id, error)
        return None


def job_state(schedule: Schedule, trigger: BaseTrigger, next_run_at: datetime | None) -> dict[str, Any]:
    """Give what APScheduler pickles of a job."""
    zone = parse_zone(schedule.timezone)
    return {
        "version": _VERSION,
        "id": schedule.id,
        "func": EXECUTE_GRAPH,
        "trigger": trigger,
        "executor": "default",
        "args": (),
        "kwargs": job_arguments(schedule),
        "name": schedule.name,
        "misfire_grace_time": 1,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": None if next_run_at is None else next_run_at.astimezone(zone),
    }


def job_arguments(schedule: Schedule) -> dict[str, Any]:
    """Give what ``GraphExecutionJobArgs`` names."""
    return {
        "user_id": schedule.user_id,
        "graph_id": schedule.graph_id,
        # Whoever follows the active version finds the one that was checked last.
        "graph_version": schedule.graph_version or schedule.checked_version or 1,
        "cron": schedule.cron,
        "input_data": schedule.inputs,
        "input_credentials": schedule.credentials,
    }


def _trigger(schedule: Schedule) -> BaseTrigger:
    zone = parse_zone(schedule.timezone)
    if schedule.run_at is not None:
        return DateTrigger(schedule.run_at, timezone=zone)
    if schedule.interval_seconds is not None:
        start = schedule.starts_at or schedule.created_at + timedelta(seconds=schedule.interval_seconds)
        return IntervalTrigger(
            seconds=schedule.interval_seconds,
            start_date=start,
            end_date=schedule.ends_at,
            timezone=zone,
            jitter=schedule.jitter_seconds or None,
        )
    return _cron_trigger(
        schedule.cron, schedule.timezone, schedule.starts_at, schedule.ends_at, schedule.jitter_seconds or None
    )


@functools.lru_cache(maxsize=10_000)
def _cron_trigger(
    cron: str, timezone: str, starts_at: datetime | None, ends_at: datetime | None, jitter: int | None
) -> BaseTrigger:
    # Thousands of rows are written at once, many with the same times.
    return UnixCronTrigger(cron, timezone, starts_at, ends_at, jitter)
