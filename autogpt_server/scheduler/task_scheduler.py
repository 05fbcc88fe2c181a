"""APScheduler's `BlockingScheduler`, in a loop that nothing but a stop ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from apscheduler.jobstores.base import BaseJobStore
from apscheduler.schedulers.base import STATE_STOPPED
from apscheduler.schedulers.blocking import BlockingScheduler

from autogpt_server.data.slots import Slots
from autogpt_server.scheduler.stores import AWAY
from autogpt_server.scheduler.task_executor import TaskExecutor
from autogpt_server.scheduler.zones import parse_zone
from autogpt_server.service.pulse import Part

log = logging.getLogger(__name__)

#: Seconds between two looks at the tables at most: others may have changed them, or the clock may have jumped.
LONGEST_WAIT = 15.0
#: Seconds after a pass that failed.
_RETRY_SECONDS = 2.0


class TaskScheduler(BlockingScheduler):
    """Runs the jobs of its stores in the thread that starts it.

    Args:
        stores: By their names.
        slots: The ledger in which runs are claimed.
        stopping: Ends it.
        turning: Told that the thread does its work.
        pause: Seconds after which that must be told again.
        on_pause: Called in between.
    """

    def __init__(
        self,
        stores: Mapping[str, BaseJobStore],
        slots: Slots,
        stopping: threading.Event,
        turning: Part,
        pause: float,
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        super().__init__(timezone=parse_zone("UTC"), jobstore_retry_interval=_RETRY_SECONDS, job_defaults=defaults)
        self.add_executor(TaskExecutor(slots))
        for name, store in stores.items():
            self.add_jobstore(store, name)
        self._stopping, self._turning, self._pause, self._on_pause = stopping, turning, pause, on_pause

    def start(self, *arguments: Any, **options: Any) -> None:
        """Begin, as soon as the stores' database lets it, and return at the stop."""
        while not self._stopping.is_set():
            self._turning.turn()
            try:
                super().start(*arguments, **options)
            except AWAY as error:
                # What was begun is begun once more: jobs that were added replace themselves.
                log.warning("cannot start yet, trying again: %s", error)
                self._stopping.wait(_RETRY_SECONDS)
            else:
                return

    def _main_loop(self) -> None:
        due_at = 0.0
        while self.state != STATE_STOPPED and not self._stopping.is_set():
            self._turning.turn()
            now = time.time()
            # By the wall clock, so that a jump of it is noticed; one back, too.
            if now >= due_at or due_at - now > LONGEST_WAIT:
                with self._turning.excused():
                    due_at = now + min(self._process(), LONGEST_WAIT)
            self._on_pause()
            seconds = min(self._pause, max(0.0, due_at - time.time()))
            if self._event.wait(seconds):
                self._event.clear()
                due_at = 0.0

    def _process(self) -> float:
        """Run what is due; returns the seconds until something is."""
        try:
            seconds = self._process_jobs()
        except Exception as error:
            # The database may have gone, or another scheduler may have removed a job; the loop must outlive both.
            log.warning("due jobs could not be run, trying again: %s: %s", type(error).__name__, error)
            return _RETRY_SECONDS
        return LONGEST_WAIT if seconds is None else float(seconds)
