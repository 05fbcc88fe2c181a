"""APScheduler's job stores on our databases: they trust no pickle, and delete no row that they cannot restore."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.util import datetime_to_utc_timestamp, utc_timestamp_to_datetime
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from autogpt_server.data.direct_url import direct_database_url
from autogpt_server.data.job_engine import JobEngine
from autogpt_server.data.job_tables import EXECUTION_JOBS, NOTIFICATION_JOBS
from autogpt_server.errors import Unavailable
from autogpt_server.scheduler.unpickling import NotRestorable, load_job_state
from autogpt_server.settings import Settings

log = logging.getLogger(__name__)

#: What a store raises while its database is away.
AWAY = (Unavailable, DBAPIError, NoConnection)
#: How far back the run times of a job are worked out: after a jump of the clock there may be millions.
_LOOK_BACK = timedelta(days=1)
#: The end of the year 9999, in seconds since 1970: what lies behind it is no time.
_END_OF_TIME = 253_402_300_800


class Jobstores(StrEnum):
    """Names of the scheduler's job stores."""

    EXECUTION = "execution"
    BATCHED_NOTIFICATIONS = "batched_notifications"
    #: In memory.
    WEEKLY_NOTIFICATIONS = "weekly_notifications"


class JobStore(SQLAlchemyJobStore):
    """Keeps jobs in a table that others may share.

    A row that cannot be restored is parked: nobody runs, lists or deletes it, and ``parked`` tells why.

    Args:
        database: A pool of its own.
        table: Name of the table.
        only: Ids of the jobs that this store finds due; by default all of them.  Any others are left to whoever
            fires them.
    """

    def __init__(self, database: JobEngine, table: str, only: Sequence[str] | None = None) -> None:
        super().__init__(engine=database.engine, tablename=table, tableschema=database.schema)
        self._database = database
        self._only = None if only is None else tuple(only)
        self._parked: dict[str, str] = {}

    def parked(self) -> dict[str, str]:
        """Tell which of the rows seen so far cannot be restored, and why, by id."""
        return dict(self._parked)

    def start(self, scheduler: Any, alias: str) -> None:
        with self._writing():
            super().start(scheduler, alias)

    def lookup_job(self, job_id: str) -> Job | None:
        found = self._get_jobs(self.jobs_t.c.id == job_id)
        return found[0] if found else None

    def has_row(self, job_id: str) -> bool:
        """Tell whether there is a row by that id, be it a job or not."""
        with self.engine.begin() as connection:
            return connection.execute(select(self.jobs_t.c.id).where(self.jobs_t.c.id == job_id)).first() is not None

    def get_due_jobs(self, now: datetime) -> list[Job]:
        jobs = self._get_jobs(self.jobs_t.c.next_run_time <= datetime_to_utc_timestamp(now), *self._mine())
        for job in jobs:
            # Late is better than never: others store a second of grace, and drop what is later.
            job.misfire_grace_time, job.coalesce = None, True
            _skip_ahead(job, now)
        return jobs

    def get_next_run_time(self) -> datetime | None:
        column = self.jobs_t.c.next_run_time
        # Parked rows stay due for ever.
        conditions = [column < _END_OF_TIME, self.jobs_t.c.id.not_in(list(self._parked)), *self._mine()]
        text = select(column).where(*conditions).order_by(column).limit(1)
        with self.engine.begin() as connection:
            return utc_timestamp_to_datetime(connection.execute(text).scalar())

    def add_job(self, job: Job) -> None:
        with self._writing():
            super().add_job(job)
        # Somebody has deleted the row that was parked under its id.
        self._parked.pop(job.id, None)

    def update_job(self, job: Job) -> None:
        with self._writing():
            super().update_job(job)

    def remove_job(self, job_id: str) -> None:
        with self._writing():
            super().remove_job(job_id)

    def remove_all_jobs(self) -> None:
        with self._writing():
            super().remove_all_jobs()

    def shutdown(self) -> None:
        self._database.close()

    @contextlib.contextmanager
    def _writing(self) -> Generator[None]:
        with self._database.writing():
            yield

    def _mine(self) -> list[ColumnElement[bool]]:
        return [] if self._only is None else [self.jobs_t.c.id.in_(self._only)]

    def _get_jobs(self, *conditions: ColumnElement[bool]) -> list[Job]:
        """Restore the jobs that meet conditions.  APScheduler's own deletes what it cannot restore."""
        columns = self.jobs_t.c
        text = select(columns.id, columns.job_state).where(*conditions).order_by(columns.next_run_time)
        with self.engine.begin() as connection:
            rows = connection.execute(text).all()
        jobs: list[Job] = []
        for row in rows:
            try:
                job = self._reconstitute_job(row.job_state)
                if job.id != row.id:
                    raise NotRestorable(f"its pickle is that of job {job.id[:200]!r}")
            except NotRestorable as error:
                self._park(row.id, error.reason)
            else:
                self._parked.pop(row.id, None)
                jobs.append(job)
        return jobs

    def _reconstitute_job(self, job_state: bytes) -> Job:
        state = load_job_state(bytes(job_state))
        job = Job.__new__(Job)
        # The function is one of ours by now, so nothing else is imported.
        job.__setstate__(state)
        job._scheduler = self._scheduler  # pyright: ignore[reportPrivateUsage]
        job._jobstore_alias = self._alias  # pyright: ignore[reportPrivateUsage]
        return job

    def _park(self, job_id: str, reason: str) -> None:
        if self._parked.get(job_id) != reason:
            self._parked[job_id] = reason
            log.error("job %s in %s cannot be restored and is not run: %s", job_id, self.jobs_t.name, reason)


class MemoryStore(MemoryJobStore):
    """Keeps jobs for as long as the process lives."""

    def get_due_jobs(self, now: datetime) -> list[Job]:
        jobs = super().get_due_jobs(now)
        for job in jobs:
            _skip_ahead(job, now)
        return jobs


def make_store(settings: Settings, kind: Jobstores, only: Sequence[str] | None = None) -> JobStore:
    """Make a store with a pool of its own, on the database without a pooler between.

    Args:
        settings: Where that is, and how many connections.
        kind: Which of the two that are kept in tables.
        only: Ids of the jobs that it finds due; by default all of them.
    """
    table = {Jobstores.EXECUTION: EXECUTION_JOBS, Jobstores.BATCHED_NOTIFICATIONS: NOTIFICATION_JOBS}[kind]
    url = direct_database_url(settings)
    return JobStore(JobEngine(url, pool_size=settings.scheduler_db_pool_size), table, only)


def _skip_ahead(job: Job, now: datetime) -> None:
    """Leave out what is long over: APScheduler works out every run time since, to take the last one."""
    horizon = now - _LOOK_BACK
    if job.next_run_time is None or job.next_run_time >= horizon:
        return
    later = job.trigger.get_next_fire_time(None, horizon)
    if later is not None and later <= now:
        job.next_run_time = later
