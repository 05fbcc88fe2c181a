"""How long the queue is, counted in its index: what has ended costs nothing, however much of it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from autogpt_server.data.database import Database
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import id_ms

_UNFINISHED = tuple(status.value for status in ExecutionStatus if not status.is_final)

_DEPTH = f"""
SELECT "status", COUNT(*), MIN("id") FROM "AgentGraphExecution"
WHERE "status" IN ({",".join(f"'{status}'" for status in _UNFINISHED)}) GROUP BY "status"
"""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Executions that have not ended, by status, and the age in seconds of the oldest one that waits."""

    by_status: dict[str, int]
    oldest_seconds: float


def read_queue_depth(database: Database) -> QueueDepth:
    """Count what has not ended.

    Raises:
        Unavailable: The database is away.
    """
    with database.read() as c:
        rows = c.execute(_DEPTH).all()
    oldest = next((row[2] for row in rows if row[0] == ExecutionStatus.QUEUED), None)
    age = 0.0 if oldest is None else max(0.0, (now_ms() - id_ms(oldest)) / 1000)
    return QueueDepth(dict.fromkeys(_UNFINISHED, 0) | {row[0]: row[1] for row in rows}, age)
