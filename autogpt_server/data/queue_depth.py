"""How long the queue is, counted in its index: what has ended costs nothing, however much of it is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autogpt_server.data.database import Database
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import id_ms
from autogpt_server.model.turns import QUARANTINE

_UNFINISHED = tuple(status.value for status in ExecutionStatus if not status.is_final)

_DEPTH = f"""
SELECT "status", "lane", COUNT(*), MIN("id") FROM "AgentGraphExecution"
WHERE "status" IN ({",".join(f"'{status}'" for status in _UNFINISHED)}) GROUP BY "status", "lane"
"""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Executions that have not ended, by status, and the age in seconds of the oldest one that waits."""

    by_status: dict[str, int]
    oldest_seconds: float
    #: How many of those that wait are to run alone, in quarantine; and the age of the oldest of the others.
    quarantined: int = 0
    oldest_other_seconds: float = 0.0


def read_queue_depth(database: Database) -> QueueDepth:
    """Count what has not ended.

    Raises:
        Unavailable: The database is away.
    """
    with database.read() as c:
        rows = c.execute(_DEPTH).all()
    by_status = dict.fromkeys(_UNFINISHED, 0)
    for status, _, number, _ in rows:
        by_status[status] += number
    waiting = [row[1:] for row in rows if row[0] == ExecutionStatus.QUEUED]
    return QueueDepth(
        by_status,
        _age(oldest for _, _, oldest in waiting),
        sum(number for lane, number, _ in waiting if lane == QUARANTINE),
        _age(oldest for lane, _, oldest in waiting if lane != QUARANTINE),
    )


def _age(ids: Iterable[str]) -> float:
    oldest = min(ids, default=None)
    return 0.0 if oldest is None else max(0.0, (now_ms() - id_ms(oldest)) / 1000)
