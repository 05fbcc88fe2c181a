# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from datetime import datetime

class BaseTrigger:
    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None: ...
