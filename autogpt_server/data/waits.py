"""What an execution that has not ended waits for, as its own row and those of others tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.errors import ExecutionNotFound
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.turns import PARTS

#: Others that are named, and counted, at most.
_NAMED, _COUNTED = 10, 10_000

_ROW = """
SELECT e."status", e."lane", e."laneLimit", e."priority", e."userId", e."executor", e."deaths", e."attempt",
       e."scheduleId", e."stopRequestedAt", e."pauseRequestedAt", e."createdAt", e."startedAt", e."endedAt", e."error"
FROM "AgentGraphExecution" e WHERE e."id" = ?
"""
_NODES = """
SELECT x."id", x."agentNodeId", n."agentBlockName", x."tries", x."startedAt"
FROM "AgentNodeExecution" x JOIN "AgentGraphExecution" g ON g."id" = x."agentGraphExecutionId"
LEFT JOIN "AgentNode" n ON n."agentGraphId" = g."agentGraphId" AND n."agentGraphVersion" = g."agentGraphVersion"
                       AND n."id" = x."agentNodeId"
WHERE x."agentGraphExecutionId" = ? AND x."sequence" IS NULL ORDER BY x."id" LIMIT ?
"""
_PARTS = """
SELECT "id","status" FROM "AgentGraphExecution"
WHERE "parentExecutionId" = ? AND "status" IN ('INCOMPLETE','QUEUED','RUNNING','PAUSED') ORDER BY "id" LIMIT ?
"""
_IN_LANE = """
SELECT "id" FROM "AgentGraphExecution" WHERE "status" = 'RUNNING' AND "lane" = ? ORDER BY "id" LIMIT ?
"""
_OF_USER = f"""
SELECT "id" FROM "AgentGraphExecution" WHERE "status" = 'RUNNING' AND "userId" = ? AND "lane" <> '{PARTS}'
ORDER BY "id" LIMIT ?
"""
_BEFORE = """
SELECT COUNT(*) FROM (
  SELECT 1 FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND "lane" = ? AND "userId" = ?
  AND ("priority" > ? OR ("priority" = ? AND "id" < ?)) LIMIT ?) before
"""


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node execution without an end."""

    id: str
    node_id: str
    #: None where its node is not known any more.
    block_name: str | None
    tries: int
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wait:
    """An execution, with everything that may keep it from ending."""

    id: str
    status: ExecutionStatus
    lane: str
    #: Executions of its lane that may run at the same time; 0 for no limit.
    lane_limit: int
    user_id: str
    executor: str | None
    deaths: int
    schedule_id: str | None
    stop_requested_at: datetime | None
    pause_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    running_nodes: list[RunningNode]
    #: Executions that it started and that have not ended, with their status.
    parts: list[tuple[str, ExecutionStatus]]
    #: What runs in its lane, and what runs for its user and is no part of another; some of each.
    running_in_lane: list[str]
    running_of_user: list[str]
    #: Executions of its user in its lane whose turn comes before, as far as they were counted.
    before: int

    @property
    def before_text(self) -> str:
        return f"{self.before:,} or more" if self.before >= _COUNTED else f"{self.before:,}"


def read_wait(db: Database, user_id: str, execution_id: str) -> Wait:
    """Read what an execution waits for.

    Raises:
        ExecutionNotFound: There is none by that id, or it is another user's.
    """
    with db.read() as c:
        row = c.execute(db.sql(_ROW), (execution_id,)).first()
        if row is None or row[4] != user_id:
            raise ExecutionNotFound(execution_id)
        status, lane = ExecutionStatus(row[0]), row[1]
        is_queued = status is ExecutionStatus.QUEUED
        nodes = c.execute(db.sql(_NODES), (execution_id, _NAMED)).all() if not status.is_final else []
        parts = c.execute(db.sql(_PARTS), (execution_id, _NAMED)).all() if not status.is_final else []
        in_lane = _ids(db, c, _IN_LANE, (lane, max(_NAMED, row[2]))) if is_queued and row[2] else []
        of_user = _ids(db, c, _OF_USER, (user_id, _COUNTED)) if is_queued and lane != PARTS else []
        before = 0
        if is_queued:
            place = (lane, user_id, row[3], row[3], execution_id, _COUNTED)
            before = c.execute(db.sql(_BEFORE), place).scalar_one()
    moment = db.from_column
    created = moment(row[11])
    assert created is not None
    return Wait(
        id=execution_id,
        status=status,
        lane=lane,
        lane_limit=row[2],
        user_id=user_id,
        executor=row[5],
        deaths=row[6],
        schedule_id=row[8],
        stop_requested_at=moment(row[9]),
        pause_requested_at=moment(row[10]),
        created_at=created,
        started_at=moment(row[12]),
        ended_at=moment(row[13]),
        error=row[14],
        running_nodes=[RunningNode(one[0], one[1], one[2], one[3], moment(one[4])) for one in nodes],
        parts=[(one[0], ExecutionStatus(one[1])) for one in parts],
        running_in_lane=in_lane,
        running_of_user=of_user,
        before=before,
    )


def unfinished_of_schedule(db: Database, schedule_id: str) -> list[tuple[str, ExecutionStatus]]:
    """Read the executions of a schedule that have not ended, the oldest first; ten at most."""
    text = """
SELECT "id","status" FROM "AgentGraphExecution" WHERE "scheduleId" = ?
AND "status" IN ('QUEUED','RUNNING','PAUSED') ORDER BY "scheduledAt" LIMIT ?
"""
    with db.read() as c:
        rows = c.execute(db.sql(text), (schedule_id, _NAMED)).all()
    return [(row[0], ExecutionStatus(row[1])) for row in rows]


def _ids(db: Database, c: Connection, text: str, values: tuple[Any, ...]) -> list[str]:
    return c.execute(db.sql(text), values).scalars()
