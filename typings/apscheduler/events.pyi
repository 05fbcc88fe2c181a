# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from datetime import datetime
from typing import Any

EVENT_JOB_ERROR: int
EVENT_JOB_EXECUTED: int
EVENT_JOB_MAX_INSTANCES: int
EVENT_JOB_MISSED: int

class SchedulerEvent:
    code: int

class JobEvent(SchedulerEvent):
    job_id: str
    jobstore: str

class JobSubmissionEvent(JobEvent):
    scheduled_run_times: list[datetime]

class JobExecutionEvent(JobEvent):
    scheduled_run_time: datetime
    retval: Any
    exception: BaseException | None
    traceback: str | None
