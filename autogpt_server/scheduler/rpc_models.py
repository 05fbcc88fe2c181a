"""What the scheduler takes and answers over RPC, and stores as the arguments of jobs.  Fields that others added later
are taken and not kept."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, Field

from autogpt_server.model.credentials import CredentialsMetaInput
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.job_rows import job_arguments
from autogpt_server.scheduler.timetable import due_at
from autogpt_server.scheduler.zones import parse_zone

BlockInput = dict[str, Any]
"""Values by the names of a graph's inputs."""


class NotificationType(StrEnum):
    """What users are told about, in batches or at once."""

    AGENT_RUN = "AGENT_RUN"
    ZERO_BALANCE = "ZERO_BALANCE"
    LOW_BALANCE = "LOW_BALANCE"
    BLOCK_EXECUTION_FAILED = "BLOCK_EXECUTION_FAILED"
    CONTINUOUS_AGENT_ERROR = "CONTINUOUS_AGENT_ERROR"
    DAILY_SUMMARY = "DAILY_SUMMARY"
    WEEKLY_SUMMARY = "WEEKLY_SUMMARY"
    MONTHLY_SUMMARY = "MONTHLY_SUMMARY"
    REFUND_REQUEST = "REFUND_REQUEST"
    REFUND_PROCESSED = "REFUND_PROCESSED"
    AGENT_APPROVED = "AGENT_APPROVED"
    AGENT_REJECTED = "AGENT_REJECTED"


class GraphExecutionJobArgs(BaseModel):
    """What is executed, as the arguments of a job say it."""

    user_id: str
    graph_id: str
    graph_version: int
    #: Empty for schedules that go by something else.
    cron: str
    input_data: BlockInput
    input_credentials: dict[str, CredentialsMetaInput] = Field(default_factory=dict)


class JobObj(Protocol):
    """A job, of APScheduler for example."""

    id: str
    name: str
    next_run_time: datetime
    trigger: Any


class GraphExecutionJobInfo(GraphExecutionJobArgs):
    """A schedule, as RPC tells of it."""

    id: str
    name: str
    #: ISO 8601 in the schedule's zone; empty where it does not fire by itself any more.
    next_run_time: str
    timezone: str = "UTC"
    run_at: datetime | None = None
    interval_seconds: int | None = None

    @staticmethod
    def from_db(job_args: GraphExecutionJobArgs, job_obj: JobObj) -> GraphExecutionJobInfo:
        """Tell of a job that APScheduler has restored."""
        zone = getattr(job_obj.trigger, "timezone", None)
        return GraphExecutionJobInfo(
            id=job_obj.id,
            name=job_obj.name,
            next_run_time=job_obj.next_run_time.isoformat(),
            timezone=str(zone) if zone is not None else "UTC",
            **job_args.model_dump(),
        )

    @staticmethod
    def from_schedule(schedule: Schedule) -> GraphExecutionJobInfo:
        """Tell of a schedule as it is stored."""
        at = None if schedule.next_run_at is None else due_at(schedule, schedule.next_run_at)
        return GraphExecutionJobInfo(
            id=schedule.id,
            name=schedule.name,
            next_run_time="" if at is None else at.astimezone(parse_zone(schedule.timezone)).isoformat(),
            timezone=schedule.timezone,
            run_at=schedule.run_at,
            interval_seconds=schedule.interval_seconds,
            **job_arguments(schedule),
        )


class NotificationJobArgs(BaseModel):
    """Which batches of notifications a job sends, and when."""

    notification_types: list[NotificationType]
    cron: str
