# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.triggers.base import BaseTrigger

STATE_STOPPED: int

class BaseScheduler:
    state: int
    def __init__(
        self,
        *,
        timezone: tzinfo | str | None = None,
        jobstore_retry_interval: float = 10,
        job_defaults: Mapping[str, Any] | None = None,
    ) -> None: ...
    @property
    def running(self) -> bool: ...
    def start(self, paused: bool = False) -> None: ...
    def shutdown(self, wait: bool = True) -> None: ...
    def add_executor(self, executor: BaseExecutor, alias: str = "default") -> None: ...
    def add_jobstore(self, jobstore: BaseJobStore, alias: str = "default") -> None: ...
    def add_listener(self, callback: Callable[[Any], None], mask: int = ...) -> None: ...
    def add_job(
        self,
        func: str | Callable[..., Any],
        trigger: BaseTrigger,
        *,
        args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        id: str | None = None,
        name: str | None = None,
        next_run_time: datetime | None = ...,
        jobstore: str = "default",
        replace_existing: bool = False,
    ) -> Job: ...
    def get_job(self, job_id: str, jobstore: str | None = None) -> Job | None: ...
    def get_jobs(self, jobstore: str | None = None) -> list[Job]: ...
    def wakeup(self) -> None: ...
    def _process_jobs(self) -> float | None: ...
