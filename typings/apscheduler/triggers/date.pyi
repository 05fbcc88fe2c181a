# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from datetime import datetime, tzinfo

from apscheduler.triggers.base import BaseTrigger

class DateTrigger(BaseTrigger):
    run_date: datetime
    def __init__(self, run_date: datetime | None = None, timezone: tzinfo | str | None = None) -> None: ...
