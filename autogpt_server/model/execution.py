"""Executions: their statuses, the moves allowed between them, and what is recorded of a node's end."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

Outputs = tuple[tuple[str, Any], ...]
"""What a node yielded, in order: (pin, value) pairs."""


class ExecutionStatus(StrEnum):
    INCOMPLETE = "INCOMPLETE"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TERMINATED = "TERMINATED"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.TERMINATED})


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class LogEntry(_Value):
    """A line that a block printed or logged; its level is that of the logger, or the stream it was printed to."""

    at: datetime
    level: str
    text: str


class NodeExecution(NamedTuple):
    """One node execution as it is recorded.  Times are aware UTC.  A tuple, because they are read by the hundred."""

    id: str
    execution_id: str
    node_id: str
    sequence: int | None
    status: ExecutionStatus
    input_data: dict[str, Any]
    output_data: Outputs
    error: str | None
    attempt: int
    revision: int
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    #: Runs by the node's retry policy, over all attempts.
    tries: int
    logs: tuple[LogEntry, ...]


class NodeOutput(_Value):
    """What a streaming block has yielded while it runs."""

    number: int
    node_execution_id: str
    node_id: str
    pin: str
    value: Any
    revision: int


class GraphExecution(_Value):
    """One graph execution as it is recorded.  Times are aware UTC."""

    id: str
    graph_id: str
    graph_version: int
    user_id: str
    status: ExecutionStatus
    inputs: dict[str, Any]
    outputs: dict[str, list[Any]]
    stats: dict[str, Any]
    error: str | None
    attempt: int
    deaths: int
    depth: int
    revision: int
    parent_execution_id: str | None
    stop_requested_at: datetime | None
    #: None where no pause is wanted; of a PAUSED one, when that began.
    pause_requested_at: datetime | None
    #: Time spent PAUSED before the last resume.
    paused: timedelta
    priority: int
    #: The execution whose results this one has taken over, and the node from which on it runs again.
    rerun_of_id: str | None
    rerun_from_node_id: str | None
    #: The schedule that started it, and the due time for which; none where it was run beside its times.
    schedule_id: str | None = None
    scheduled_at: datetime | None = None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
