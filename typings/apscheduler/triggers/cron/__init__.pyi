# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler.triggers builds on.
from datetime import datetime, tzinfo
from typing import Any

from apscheduler.triggers.base import BaseTrigger

class CronTrigger(BaseTrigger):
    start_date: datetime | None
    end_date: datetime | None
    timezone: Any
    jitter: int | None
    fields: list[Any]

    def __init__(
        self,
        *,
        year: str | None = None,
        month: str | None = None,
        day: str | None = None,
        week: str | None = None,
        day_of_week: str | None = None,
        hour: str | None = None,
        minute: str | None = None,
        second: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        timezone: tzinfo | str | None = None,
        jitter: int | None = None,
    ) -> None: ...
    @classmethod
    def from_crontab(cls, expr: str, timezone: tzinfo | str | None = None) -> CronTrigger: ...
    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None: ...
    def _apply_jitter(self, next_fire_time: datetime, jitter: int | None, now: datetime) -> datetime: ...
    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, state: Any) -> None: ...
