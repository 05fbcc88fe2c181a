"""Runs APScheduler's jobs so that of several schedulers on one database one runs each."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from queue import SimpleQueue
from typing import Any, cast

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job

from autogpt_server.data.slots import Slots
from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from autogpt_server.model.schedule import Slot, SlotOutcome
from autogpt_server.scheduler.jobs import NOT_CONFIGURED
from autogpt_server.scheduler.task_ledger import for_slot

log = logging.getLogger(__name__)

#: Threads, and so jobs that run at the same time.
_THREADS = 4
#: A run is late after that.
_GRACE = timedelta(minutes=1)
#: Seconds between two tries to claim a slot while the database is away, and tries.
_RETRY_SECONDS, _TRIES = 2.0, 150
#: Characters of a reason in the ledger.
_MAX_REASON = 1000


class TaskExecutor(BaseExecutor):
    """Claims the slot of each run in the ledger, and runs only those that nobody else has claimed.

    Its threads do not keep the process alive: ``shutdown(wait=False)`` leaves a run where it is.

    Args:
        slots: The ledger.
    """

    def __init__(self, slots: Slots) -> None:
        super().__init__()
        self._slots = slots
        self._waiting: SimpleQueue[tuple[Job, list[datetime]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name=f"task-{i}", daemon=True) for i in range(_THREADS)
            ]
            for thread in self._threads:
                thread.start()

    def shutdown(self, wait: bool = True) -> None:
        self._stopping.set()
        for _ in self._threads:
            self._waiting.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._waiting.put((job, run_times))

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None and not self._stopping.is_set():
            job, run_times = item
            events: list[JobExecutionEvent] = []
            try:
                for run_time in run_times:
                    events += self._run(job, run_time)
            except Exception as error:
                # The thread must outlive every job.
                self._run_job_error(job.id, error, error.__traceback__)
            else:
                self._run_job_success(job.id, events)

    def _run(self, job: Job, run_time: datetime) -> list[JobExecutionEvent]:
        now = clock.now()
        outcome = SlotOutcome.LATE if now - run_time > _GRACE else SlotOutcome.FIRED
        at = clock.from_ms(clock.to_ms(run_time))
        slot = Slot(schedule_id=slot_owner(job.id), scheduled_at=at, outcome=outcome, fired_at=now)
        if not self._claim(slot):
            log.debug("somebody else runs job %s of %s", job.id, run_time)
            return []
        alias = cast(Any, job)._jobstore_alias
        with for_slot(at):
            events: list[JobExecutionEvent] = run_job(job, alias, [run_time], self._logger.name)
        for event in events:
            self._settle(slot, event)
        return events

    def _claim(self, slot: Slot) -> bool:
        for _ in range(_TRIES):
            try:
                return self._slots.claim(slot)
            except Unavailable as error:
                # Whether the claim was written is not known where the commit lost its answer; then nobody runs it, and
                # the ledger says that it fired.  That is rarer, and does less harm, than running it twice.
                log.warning("the slot of %s cannot be claimed, trying again: %s", slot.schedule_id, error)
                if self._stopping.wait(_RETRY_SECONDS):
                    break
        log.error("%s of %s was not run: its slot could not be claimed", slot.schedule_id, slot.scheduled_at)
        return False

    def _settle(self, slot: Slot, event: JobExecutionEvent) -> None:
        """Say in the ledger what became of a run that did not go as it should."""
        if event.code == EVENT_JOB_ERROR:
            reason = f"{type(event.exception).__name__}: {event.exception}"
            news = {"outcome": SlotOutcome.FAILED, "reason": reason[:_MAX_REASON]}
        elif event.code == EVENT_JOB_MISSED:
            news = {"outcome": SlotOutcome.SKIPPED, "reason": "it was too late for it"}
        elif event.retval == NOT_CONFIGURED:
            news = {"outcome": SlotOutcome.SKIPPED, "reason": NOT_CONFIGURED}
        else:
            return
        try:
            self._slots.settle(slot.model_copy(update=news))
        except Unavailable as error:
            log.warning("the ledger does not tell what became of %s: %s", slot.schedule_id, error)


def slot_owner(job_id: str) -> str:
    """Name a job in the ledger, where the ids of schedules stand as well."""
    return f"system:{job_id}"
