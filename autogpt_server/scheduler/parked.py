"""Job rows that cannot be restored: nobody runs them, and only a user who asks for it deletes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import EXECUTION_JOBS, NOTIFICATION_JOBS
from autogpt_server.data.stray_jobs import StrayJob, StrayJobs
from autogpt_server.errors import ParkedJobNotFound
from autogpt_server.scheduler.adopting import schedule_of_job
from autogpt_server.scheduler.job_rows import row_again
from autogpt_server.scheduler.system_tasks import STORED_IDS
from autogpt_server.scheduler.unpickling import NotRestorable, load_job_state

log = logging.getLogger(__name__)

#: Rows read at once.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class ParkedJob:
    """A job row that is neither run nor deleted, as it cannot be restored."""

    table: str
    id: str
    reason: str


def find_parked(database: Database, limit: int = 1000) -> list[ParkedJob]:
    """Find the job rows of both stores that cannot be restored, with the reasons; reads all that could be among them.

    Args:
        database: Where they are.
        limit: How many at most.
    """
    strays, found = StrayJobs(database), list[ParkedJob]()
    tasks = iter([[job for id_ in STORED_IDS if (job := strays.find(EXECUTION_JOBS, id_)) is not None]])
    unknown = pages(lambda after: strays.unknown(STORED_IDS, after=after, limit=_PAGE))
    adopted = pages(lambda after: strays.adopted(after=after, limit=_PAGE))
    batches = pages(lambda after: strays.all(NOTIFICATION_JOBS, after=after, limit=_PAGE))
    for table, read, some in (
        (EXECUTION_JOBS, _load, tasks),
        (EXECUTION_JOBS, schedule_of_job, unknown),
        (EXECUTION_JOBS, _load, adopted),
        (NOTIFICATION_JOBS, _load, batches),
    ):
        for job in chain.from_iterable(some):
            if len(found) == limit:
                return found
            if (reason := _reason(read, job)) is not None:
                found.append(ParkedJob(table, job.id, reason))
    return found


def remove_parked(database: Database, table: str, job_id: str) -> ParkedJob:
    """Delete a job row that cannot be restored, for good, and return what it was.

    The row of a schedule that was taken over is made anew.  A task of the server's own is added again when the
    scheduler compares the rows the next time.

    Args:
        database: Where it is.
        table: Of which store.
        job_id: Its id.

    Raises:
        ParkedJobNotFound: There is none by that id, or it can be restored.
    """
    strays = StrayJobs(database)
    job = strays.find(table, job_id)
    read = None if job is None else _reader(strays, table, job_id)
    reason = None if job is None or read is None else _reason(read, job)
    if job is None or reason is None or not strays.remove(table, job):
        raise ParkedJobNotFound(job_id)
    log.warning("parked job row %s of %s was deleted on request: %s", job_id, table, reason)
    if table == EXECUTION_JOBS:
        strays.make_rows([job_id], row_again)
    return ParkedJob(table, job_id, reason)


def pages(read: Callable[[str], list[StrayJob]]) -> Iterator[list[StrayJob]]:
    """Iterate over pages of rows; ``read`` is given the last id of the page before."""
    page = read("")
    while page:
        yield page
        page = read(page[-1].id)


def _reader(strays: StrayJobs, table: str, job_id: str) -> Callable[[StrayJob], object] | None:
    """Choose what must be able to read a row; None where nobody reads it: the schedule itself says what is true."""
    if table == NOTIFICATION_JOBS or job_id in STORED_IDS:
        return _load
    is_adopted = strays.is_adopted(job_id)
    if is_adopted is None:
        return schedule_of_job
    return _load if is_adopted else None


def _reason(read: Callable[[StrayJob], object], job: StrayJob) -> str | None:
    try:
        read(job)
    except NotRestorable as error:
        return error.reason
    return None


def _load(job: StrayJob) -> None:
    if (held := load_job_state(job.state)["id"]) != job.id:
        raise NotRestorable(f"its pickle is that of job {held[:200]!r}")


def parked_reason(database: Database, schedule_id: str) -> str | None:
    """Tell why the job row of a schedule cannot be restored; None where it can be, or there is none."""
    strays = StrayJobs(database)
    job, read = strays.find(EXECUTION_JOBS, schedule_id), _reader(strays, EXECUTION_JOBS, schedule_id)
    return None if job is None or read is None else _reason(read, job)
