# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from apscheduler.jobstores.base import BaseJobStore

class MemoryJobStore(BaseJobStore): ...
