"""Keeps schedules and job rows in step, whatever others did to the rows: at the start, and every few minutes.

The table of schedules is the truth.  Only rows with ids that it never had are taken over as new schedules.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import EXECUTION_JOBS
from autogpt_server.data.schedules import Schedules
from autogpt_server.data.stray_jobs import StrayJob, StrayJobs
from autogpt_server.errors import Unavailable
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.adopting import schedule_of_job
from autogpt_server.scheduler.job_rows import row_again
from autogpt_server.scheduler.parked import ParkedJob, pages
from autogpt_server.scheduler.put_back import PutBack
from autogpt_server.scheduler.system_tasks import STORED_IDS
from autogpt_server.scheduler.unpickling import NotRestorable

log = logging.getLogger(__name__)

#: Seconds between two times, and after one that failed.
_PERIOD_SECONDS, _RETRY_SECONDS = 300.0, 5.0
#: Rows read, and schedules written, at once.
_PAGE = 500


@dataclass
class Reconciled:
    """What was found and mended."""

    #: Ids of schedules that were taken over.
    adopted: list[str] = field(default_factory=list[str])
    #: Rows of deleted schedules that were removed, and rows of schedules that were made.
    removed: int = 0
    made: int = 0
    parked: list[ParkedJob] = field(default_factory=list[ParkedJob])


class Reconciler:
    """Compares and mends, in a thread of its own once it is started.

    Args:
        database: Of schedules and job rows.
        announce: Called with the ids of schedules that were taken over.
        and_then: Called by the thread whenever it has compared: what else is to be kept in step.
    """

    def __init__(
        self, database: Database, announce: Callable[[list[str]], None], and_then: Callable[[], None] = lambda: None
    ) -> None:
        self._and_then, self._announce, self._put_back = and_then, announce, PutBack(database)
        self._strays, self._schedules = StrayJobs(database), Schedules(database, announce)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reconcile", daemon=True)
        #: Reasons by id, told already.
        self._told: dict[str, str] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 2) -> None:
        """Begin nothing more; what has begun is safe to break off."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def run(self) -> Reconciled:
        """Compare and mend once.  Safe to repeat, and for several schedulers at the same time.

        Raises:
            Unavailable: The database is away; the next run does the rest.
        """
        done = Reconciled(removed=self._strays.remove_buried())
        if moved := self._put_back.run():
            self._announce(moved)
        for page in pages(lambda after: self._strays.unknown(STORED_IDS, after=after, limit=_PAGE)):
            self._adopt(page, done)
            if self._stopping.is_set():
                return done
        while ids := self._strays.rowless(limit=_PAGE):
            made = self._strays.make_rows(ids, row_again)
            done.made += made
            # One that never fires gets none.
            if self._stopping.is_set() or not made:
                break
        self._tell(done)
        return done

    def _adopt(self, page: list[StrayJob], done: Reconciled) -> None:
        found: list[Schedule] = []
        for job in page:
            try:
                found.append(schedule_of_job(job))
            except NotRestorable as error:
                done.parked.append(ParkedJob(EXECUTION_JOBS, job.id, error.reason))
        if found:
            done.adopted += self._schedules.adopt(found)

    def _tell(self, done: Reconciled) -> None:
        if done.adopted:
            log.warning(
                "%d schedules of another deployment were taken over; they fire as they did there, with weekdays "
                "counted from 0 for Monday",
                len(done.adopted),
            )
        if done.removed or done.made:
            log.info("%d job rows of deleted schedules removed, %d missing ones made", done.removed, done.made)
        reasons = {one.id: one.reason for one in done.parked}
        for id_, reason in reasons.items():
            if self._told.get(id_) != reason:
                log.error("job row %s is parked, nobody runs it: %s", id_, reason)
        self._told = reasons

    def _work(self) -> None:
        seconds = 0.0
        while not self._stopping.wait(seconds):
            seconds = _PERIOD_SECONDS
            try:
                self.run()
                self._and_then()
            except Unavailable as error:
                log.warning("job rows could not be compared, trying again: %s", error)
                seconds = _RETRY_SECONDS
            except Exception:
                # The thread must outlive whatever others wrote into the tables.
                log.exception("job rows could not be compared")
