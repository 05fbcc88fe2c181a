# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from datetime import datetime, timedelta, tzinfo

from apscheduler.triggers.base import BaseTrigger

class IntervalTrigger(BaseTrigger):
    start_date: datetime
    end_date: datetime | None
    timezone: tzinfo
    jitter: int | None
    interval: timedelta

    def __init__(
        self,
        *,
        seconds: float = 0,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        timezone: tzinfo | str | None = None,
        jitter: int | None = None,
    ) -> None: ...
