# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from apscheduler.triggers.base import BaseTrigger

class Job:
    id: str
    name: str
    func: Callable[..., Any]
    func_ref: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    trigger: BaseTrigger
    executor: str
    coalesce: bool
    max_instances: int
    misfire_grace_time: int | None
    next_run_time: datetime | None
    _scheduler: Any
    _jobstore_alias: str | None

    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, state: Mapping[str, Any]) -> None: ...
