"""What is answered about the server's state, and about what does not run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import Field

from autogpt_server.data.block_counts import BlockStats
from autogpt_server.data.task_runs import TaskCause, TaskOutcome, TaskRun
from autogpt_server.model.alert import Alert, AlertKind
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.monitoring.why import Reason
from autogpt_server.server.shapes import Shape


class ReasonShape(Shape):
    code: str = Field(description="Stable: what kind of reason this is.")
    message: str
    fix: str | None = Field(description="What would help; null where nothing needs to be done.")
    facts: dict[str, Any] = Field(description="What the message is about: ids, times, numbers.")

    @classmethod
    def of(cls, reason: Reason) -> Self:
        return cls(code=reason.code, message=reason.message, fix=reason.fix, facts=reason.facts)


class WhyShape(Shape):
    """What something waits for, the first thing first."""

    id: str
    reasons: list[ReasonShape]


class WhyExecution(WhyShape):
    status: ExecutionStatus


class WhySchedule(WhyShape):
    is_enabled: bool


class AlertShape(Shape):
    id: str
    kind: AlertKind
    subject: str = Field(description="What it is about: the id of a user or a schedule, the name of a block.")
    message: str
    severity: int = Field(description="Told again only when it rises.")
    opened_at: datetime
    last_seen_at: datetime
    told_at: datetime = Field(description="When it was told last.")
    resolved_at: datetime | None = Field(description="Null while it is open.")

    @classmethod
    def of(cls, alert: Alert) -> Self:
        return cls(
            id=alert.id,
            kind=alert.kind,
            subject=alert.subject,
            message=alert.message,
            severity=alert.severity,
            opened_at=alert.opened_at,
            last_seen_at=alert.last_seen_at,
            told_at=alert.told_at,
            resolved_at=alert.resolved_at,
        )


class BlockStatsShape(Shape):
    block_name: str
    executions: int
    failures: int
    error_rate: float = Field(description="From 0 to 1.")

    @classmethod
    def of(cls, stats: BlockStats) -> Self:
        return cls(
            block_name=stats.block_name,
            executions=stats.executions,
            failures=stats.failures,
            error_rate=round(stats.error_rate, 6),
        )


class BlockStatsList(Shape):
    """How the node executions of each block ended, most failures first."""

    since: datetime
    items: list[BlockStatsShape]


class TaskRunShape(Shape):
    id: str
    cause: TaskCause = Field(description="`request` where somebody asked for it.")
    scheduled_at: datetime | None = Field(description="The slot that it was run for.")
    outcome: TaskOutcome = Field(description="`running` for ever where its process died.")
    result: str | None = Field(description="What it answered, or why it failed.")
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None

    @classmethod
    def of(cls, run: TaskRun) -> Self:
        return cls(
            id=run.id,
            cause=run.cause,
            scheduled_at=run.scheduled_at,
            outcome=run.outcome,
            result=run.result,
            started_at=run.started_at,
            ended_at=run.ended_at,
            duration_seconds=None if run.duration is None else run.duration.total_seconds(),
        )


class SystemTaskShape(Shape):
    id: str
    description: str = Field(description="What it does.")
    next_run_at: datetime | None
    last_run: TaskRunShape | None
