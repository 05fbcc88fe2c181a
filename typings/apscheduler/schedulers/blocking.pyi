# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
import threading

from apscheduler.schedulers.base import BaseScheduler

class BlockingScheduler(BaseScheduler):
    _event: threading.Event
    def _main_loop(self) -> None: ...
