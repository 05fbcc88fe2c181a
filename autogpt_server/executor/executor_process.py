"""One executor process: a worker on an event loop of its own."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.executor.confinement import confine
from autogpt_server.executor.worker import Worker
from autogpt_server.service.process import AppProcess
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting

log = logging.getLogger(__name__)

#: Seconds beyond draining after which a stopping process ends hard.
_STOP_MARGIN_SECONDS = 10.0

#: Thresholds of the garbage collector's generations.  Executing makes many objects that live until the next commit and
#: none in cycles; with Python's own thresholds looking through them takes a quarter of the processor time.
_COLLECT_AFTER = (50_000, 20, 100)


class ExecutorProcess(AppProcess):
    """Claims executions and runs them until it is stopped.

    Args:
        settings: Of the server.
        quarantine: Runs only executions during which an executor process died, one at a time, and ends when
            none is left.
    """

    ready_when_running = False

    def __init__(self, settings: Settings | None = None, *, quarantine: bool = False) -> None:
        super().__init__(settings)
        self._quarantine = quarantine

    @property
    def name(self) -> str:
        return "Quarantine" if self._quarantine else "Executor"

    def run(self) -> None:
        counting.begin(open_run_folder(self.settings), self.name)
        self.stop_seconds = self.settings.drain_seconds + _STOP_MARGIN_SECONDS
        # A forked child that kept it open would make this process look alive after its death.
        confine(self.settings, on_fork=self.let_go)
        if asyncio.run(self._work()):
            # A thread that never ends would keep the interpreter from ending, too.
            logging.shutdown()
            os._exit(0)

    async def _work(self) -> bool:
        gc.set_threshold(*_COLLECT_AFTER)
        database = Database.from_settings(self.settings)
        try:
            worker = Worker(self.settings, load_registry(self.settings.blocks), database, quarantine=self._quarantine)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.add_signal_handler(number, worker.stop)
            return await worker.run(lambda lease: self.ready(lease_id=lease.id, epoch=lease.epoch))
        finally:
            database.close()
