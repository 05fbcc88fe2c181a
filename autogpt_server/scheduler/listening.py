"""Tells the log what became of APScheduler's jobs, where that was not what was wanted."""

from __future__ import annotations

import logging

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.schedulers.base import BaseScheduler

log = logging.getLogger(__name__)


def listen(scheduler: BaseScheduler) -> None:
    """Log runs that failed, that were missed, and that were left out since too many were under way.

    What APScheduler itself says of every job that it adds and runs is no news.
    """
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    scheduler.add_listener(_failed, EVENT_JOB_ERROR)
    scheduler.add_listener(_missed, EVENT_JOB_MISSED)
    scheduler.add_listener(_left_out, EVENT_JOB_MAX_INSTANCES)


def _failed(event: JobExecutionEvent) -> None:
    error = event.exception
    log.error("job %s failed: %s: %s\n%s", event.job_id, type(error).__name__, error, event.traceback)


def _missed(event: JobExecutionEvent) -> None:
    log.warning("job %s missed its run of %s", event.job_id, event.scheduled_run_time)


def _left_out(event: JobSubmissionEvent) -> None:
    log.warning("job %s still runs; its runs of %s are left out", event.job_id, event.scheduled_run_times)
