"""Accepting executions of schedules: the lane in which each waits, and the key that lets a slot have one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.firing_targets import Target
from autogpt_server.model import clock
from autogpt_server.model.schedule import OverlapPolicy, Schedule, Slot
from autogpt_server.model.turns import ORDINARY, lane_of

#: Begins the lanes in which executions of a schedule wait for each other.
_LANE = "schedule:"
#: The same for those of a backfill.
_BACKFILL_LANE = "backfill:"
#: Of those that wait for no other.
NO_LANE = (ORDINARY, 0)


class ScheduledExecution(NamedTuple):
    """An execution to be accepted for a slot, or beside the slots."""

    schedule: Schedule
    target: Target
    slot: Slot
    inputs: str
    #: Where it waits; None for where the schedule's policy says.
    lane: tuple[str, int] | None = None
    is_of_slot: bool = True


def backfill_lane(schedule_id: str, limit: int) -> tuple[str, int]:
    """The lane of a backfill's executions, of which so many run at the same time."""
    return f"{_BACKFILL_LANE}{schedule_id}", limit


def accept_scheduled(db: Database, c: Connection, rows: list[ScheduledExecution]) -> set[str]:
    """Store executions as QUEUED, and return the ids of those whose slot had none."""
    if not rows:
        return set()
    now = clock.now()
    values = [_values(one, now) for one in rows]
    if db.provider == "postgresql":
        text = """
INSERT INTO "AgentGraphExecution" ("id","agentGraphId","agentGraphVersion","userId","inputs","lane","laneLimit",
"scheduleId","scheduledAt","createdAt","status","revision")
SELECT i, g, v, u, n, l, k, s, TIMESTAMP 'epoch' + a * INTERVAL '1 millisecond',
       TIMESTAMP 'epoch' + c * INTERVAL '1 millisecond', 'QUEUED', 1
FROM json_to_recordset(?::json)
AS rows (i text, g text, v int, u text, n text, l text, k int, s text, a bigint, c bigint)
ON CONFLICT ("scheduleId","scheduledAt") DO NOTHING RETURNING "id"
"""
        return set(c.execute(db.sql(text), (db.to_recordset("igvunlksac", values),)).scalars())
    text = """
INSERT INTO "AgentGraphExecution" ("id","agentGraphId","agentGraphVersion","userId","inputs","lane","laneLimit",
"scheduleId","scheduledAt","createdAt","status","revision") VALUES (?,?,?,?,?,?,?,?,?,?,'QUEUED',1)
ON CONFLICT ("scheduleId","scheduledAt") DO NOTHING
"""
    before = _changes(c)
    c.execute(text, values)
    if _changes(c) - before == len(rows):
        return {one.slot.execution_id or "" for one in rows}
    ids = [one.slot.execution_id or "" for one in rows]
    return set(c.execute(f'SELECT "id" FROM "AgentGraphExecution" WHERE "id" {db.among}', (db.to_list(ids),)).scalars())


def _changes(c: Connection) -> int:
    """Count the rows that this connection to SQLite has changed so far."""
    return c.execute("SELECT total_changes()").scalar_one()


def _values(one: ScheduledExecution, now: datetime) -> tuple[Any, ...]:
    s = one.schedule
    limit = one.target.policy.max_concurrent_executions
    lane, lane_limit = lane_of(s.graph_id, limit, 0)
    if limit is None and one.lane is not None:
        lane, lane_limit = one.lane
    elif limit is None and s.overlap_policy in (OverlapPolicy.BUFFER_ONE, OverlapPolicy.CANCEL_RUNNING):
        lane, lane_limit = f"{_LANE}{s.id}", 1
    slot = clock.to_ms(one.slot.scheduled_at) if one.is_of_slot else None
    return (
        one.slot.execution_id, s.graph_id, one.target.version, s.user_id, one.inputs, lane, lane_limit, s.id, slot,
        clock.to_ms(now),
    )  # fmt: skip
