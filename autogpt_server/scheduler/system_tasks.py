"""The tasks that the server itself has done again and again: which, when, and where their jobs are kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from autogpt_server.model import clock
from autogpt_server.scheduler.known_functions import (
    CLEANUP_EXPIRED_FILES,
    PROCESS_WEEKLY_SUMMARY,
    PRUNE_HISTORY,
    REPORT_BLOCK_ERROR_RATES,
    REPORT_LATE_EXECUTIONS,
)
from autogpt_server.scheduler.stores import JobStore, Jobstores
from autogpt_server.scheduler.triggers import UnixCronTrigger
from autogpt_server.scheduler.zones import parse_zone
from autogpt_server.settings import Settings

log = logging.getLogger(__name__)

WEEKLY_SUMMARY, LATE_EXECUTIONS = "process_weekly_summary", "report_late_executions"
BLOCK_ERROR_RATES, EXPIRED_FILES = "report_block_error_rates", "cleanup_expired_files"
HISTORY = "prune_history"

#: Ids of those whose jobs are kept in the execution store, among those of schedules.
STORED_IDS = (LATE_EXECUTIONS, BLOCK_ERROR_RATES, EXPIRED_FILES, HISTORY)
_DAY = 86_400
#: Of times that are worked out at different moments.
_TOLERANCE = timedelta(minutes=1)


@dataclass(frozen=True)
class SystemTask:
    """A task; its id is the job's as well."""

    id: str
    trigger: BaseTrigger
    store: Jobstores
    #: Path of its function.
    function: str


def system_tasks(settings: Settings) -> tuple[SystemTask, ...]:
    """Make all of them, as the settings say."""
    late = settings.execution_late_notification_threshold_secs
    errors = settings.block_error_rate_check_interval_secs
    files = settings.cloud_storage_cleanup_interval_hours * 3600
    keeps_all = settings.retention_executions_days is None and settings.retention_slots_days is None
    history = () if keeps_all else (SystemTask(HISTORY, _every(_DAY), Jobstores.EXECUTION, PRUNE_HISTORY),)
    return (
        SystemTask(
            WEEKLY_SUMMARY, UnixCronTrigger("0 * * * *"), Jobstores.WEEKLY_NOTIFICATIONS, PROCESS_WEEKLY_SUMMARY
        ),
        SystemTask(LATE_EXECUTIONS, _every(late), Jobstores.EXECUTION, REPORT_LATE_EXECUTIONS),
        SystemTask(BLOCK_ERROR_RATES, _every(errors), Jobstores.EXECUTION, REPORT_BLOCK_ERROR_RATES),
        SystemTask(EXPIRED_FILES, _every(files), Jobstores.EXECUTION, CLEANUP_EXPIRED_FILES),
        *history,
    )


def register(scheduler: BaseScheduler, settings: Settings, execution_store: JobStore) -> None:
    """Add the tasks' jobs.

    A job that is there already, of this server or of another deployment, is taken over.  It keeps its times where it
    runs as often as it shall: else a server that is started every day would never do what is done once a day.  A row
    that cannot be restored stays as it is, and its task does not run.
    """
    for task in system_tasks(settings):
        present = execution_store.lookup_job(task.id) if task.store is Jobstores.EXECUTION else None
        if present is not None and _runs_alike(present, task.trigger):
            _add(scheduler, task, present.trigger, present.next_run_time)
        elif present is not None or not _is_parked(execution_store, task):
            _add(scheduler, task, task.trigger, task.trigger.get_next_fire_time(None, clock.now()))


def mend(scheduler: BaseScheduler, settings: Settings, execution_store: JobStore) -> None:
    """Add jobs again whose rows somebody has deleted meanwhile, or that a clock carried away which was ahead."""
    for task in system_tasks(settings):
        present = scheduler.get_job(task.id, task.store.value)
        if present is None and not _is_parked(execution_store, task):
            log.info("the job of task %s is gone; it gets another", task.id)
        elif present is not None and _is_far(present.next_run_time, task.trigger):
            log.warning("the clock was ahead when task %s ran; it goes on from now", task.id)
        else:
            continue
        _add(scheduler, task, task.trigger, task.trigger.get_next_fire_time(None, clock.now()))


def _is_parked(store: JobStore, task: SystemTask) -> bool:
    """Tell of a task whose job was not found whether there is a row all the same."""
    return task.store is Jobstores.EXECUTION and store.has_row(task.id)


def _add(scheduler: BaseScheduler, task: SystemTask, trigger: BaseTrigger, next_run_at: datetime | None) -> None:
    scheduler.add_job(
        task.function,
        trigger,
        id=task.id,
        name=task.id,
        next_run_time=next_run_at,
        jobstore=task.store.value,
        replace_existing=True,
    )


def _every(seconds: int) -> IntervalTrigger:
    # From a whole second, so that every scheduler works out the same times from it.
    start = clock.now().replace(microsecond=0) + timedelta(seconds=seconds)
    return IntervalTrigger(seconds=seconds, start_date=start, timezone=parse_zone("UTC"))


def _runs_alike(job: Job, trigger: BaseTrigger) -> bool:
    return (
        isinstance(trigger, IntervalTrigger)
        and isinstance(job.trigger, IntervalTrigger)
        and job.trigger.interval == trigger.interval
        and job.next_run_time is not None
        and not _is_far(job.next_run_time, trigger)
    )


def _is_far(next_run_at: datetime | None, trigger: BaseTrigger) -> bool:
    """Tell of the next time of a job whether it lies further ahead than that of one that is made now."""
    latest = trigger.get_next_fire_time(None, clock.now())
    return next_run_at is not None and latest is not None and next_run_at - latest > _TOLERANCE
