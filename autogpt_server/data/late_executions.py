"""Executions that have been waiting for too long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.model import clock
from autogpt_server.model.ids import least_id
from autogpt_server.model.turns import PARTS

# By the index of the queue, which holds the id as well: no order is asked for, so that nothing is sorted.
_LATE = """
SELECT "id" FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND "id" >= ? AND "id" < ? LIMIT ?
"""
_DETAILS = """
SELECT "id","agentGraphId","agentGraphVersion","userId","createdAt" FROM "AgentGraphExecution"
WHERE "id" {among} AND "status" = 'QUEUED' ORDER BY "id"
"""


@dataclass(frozen=True, slots=True)
class LateExecution:
    """An execution that is still QUEUED."""

    id: str
    graph_id: str
    graph_version: int
    user_id: str
    created_at: datetime


def find_late_executions(db: Database, first: datetime, last: datetime, limit: int) -> list[LateExecution]:
    """Read up to ``limit`` executions that were made between two times and are QUEUED, the oldest first."""
    span = (least_id(clock.to_ms(first)), least_id(clock.to_ms(last)))
    with db.read() as c:
        ids = c.execute(db.sql(_LATE), (*span, limit)).scalars()
        rows = c.execute(db.sql(_DETAILS.format(among=db.among)), (db.to_list(ids),)).all() if ids else []
    found: list[LateExecution] = []
    for id_, graph_id, version, user_id, created_at in rows:
        created = db.from_column(created_at)
        assert created is not None
        found.append(LateExecution(id_, graph_id, version, user_id, created))
    return found


def has_waiting(db: Database, c: Connection, user_id: str, before: datetime) -> bool:
    """Tell whether an execution of a user that was made before some time is QUEUED."""
    text = """
SELECT 1 FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND "id" < ? AND "userId" = ? LIMIT 1
"""
    return c.execute(db.sql(text), (least_id(clock.to_ms(before)), user_id)).first() is not None


def count_running(db: Database, user_id: str) -> int:
    """Count the executions of a user that run and are no parts of others."""
    text = """
SELECT COUNT(*) FROM "AgentGraphExecution" WHERE "status" = 'RUNNING' AND "userId" = ? AND "lane" <> ?
"""
    with db.read() as c:
        return int(c.execute(db.sql(text), (user_id, PARTS)).scalar_one())
