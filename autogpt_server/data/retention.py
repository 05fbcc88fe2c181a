"""Deletes what is old: executions with everything recorded of them, and slots.  In short transactions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autogpt_server.data.database import Database
from autogpt_server.model import clock
from autogpt_server.model.ids import least_id

#: Executions in one transaction: the write lock of SQLite is held for some milliseconds.
_BATCH = 50
_SLOTS = 500
#: Rows of what was recorded in one transaction; the tables that have them, with their keys.
_ROWS = 2_000
_RECORDED = (("AgentNodeOutput", '"agentGraphExecutionId","number"'), ("AgentNodeExecution", '"id"'))
# Not what something kept was made from, or is a part of: its history would lead nowhere.
_OLD = """
SELECT e."id" FROM "AgentGraphExecution" e WHERE e."id" > ? AND e."id" < ?
AND e."status" IN ('COMPLETED','FAILED','TERMINATED') AND e."endedAt" < ?
AND NOT EXISTS (SELECT 1 FROM "AgentGraphExecution" p WHERE p."id" = e."parentExecutionId"
                AND p."status" NOT IN ('COMPLETED','FAILED','TERMINATED'))
ORDER BY e."id" LIMIT ?
"""
# A slot that a schedule has still before it, after a clock was put back, keeps it from firing twice.
_OLD_SLOTS = """
SELECT s."scheduleId", s."scheduledAt" FROM "AgentScheduleSlot" s
WHERE COALESCE(s."lastScheduledAt", s."scheduledAt") < ? AND NOT EXISTS (
  SELECT 1 FROM "AgentExecutionSchedule" a WHERE a."id" = s."scheduleId" AND a."nextRunAt" <= s."scheduledAt")
LIMIT ?
"""


@dataclass(slots=True)
class Pruned:
    """What was deleted, or would be."""

    executions: int = 0
    slots: int = 0
    is_dry: bool = False

    def __str__(self) -> str:
        what = "would be deleted" if self.is_dry else "deleted"
        return f"{self.executions:,} executions and {self.slots:,} slots {what}"


def prune(db: Database, *, executions_days: int | None, slots_days: int | None, dry_run: bool = False) -> Pruned:
    """Delete executions that ended, and slots that were due, more than so many days ago; None keeps them all.

    May be repeated, and ended at any line.
    """
    done, now = Pruned(is_dry=dry_run), clock.now()
    if executions_days is not None:
        _prune_executions(db, now - timedelta(days=executions_days), done)
    if slots_days is not None:
        _prune_slots(db, now - timedelta(days=slots_days), done)
    return done


def _prune_executions(db: Database, before: datetime, done: Pruned) -> None:
    after, last = "", least_id(clock.to_ms(before))
    while True:
        with db.read() as c:
            ids = c.execute(db.sql(_OLD), (after, last, db.to_column(before), _BATCH)).scalars()
        if not ids:
            return
        after = ids[-1]
        done.executions += len(ids)
        if not done.is_dry:
            # First what was recorded of them, which may be a hundred thousand nodes of one.
            for table, key in _RECORDED:
                _delete_in_steps(db, table, key, ids)
            with db.write() as c:
                text = f'DELETE FROM "AgentGraphExecution" WHERE "id" {db.among}'
                c.execute(db.sql(text), (db.to_list(ids),))


def _delete_in_steps(db: Database, table: str, key: str, execution_ids: list[str]) -> None:
    text = f"""
DELETE FROM "{table}" WHERE ({key}) IN (SELECT {key} FROM "{table}" WHERE "agentGraphExecutionId" {db.among} LIMIT ?)
"""
    deleted = _ROWS
    while deleted == _ROWS:
        with db.write() as c:
            deleted = c.execute(db.sql(text), (db.to_list(execution_ids), _ROWS)).rowcount


def _prune_slots(db: Database, before: datetime, done: Pruned) -> None:
    at = db.to_column(before)
    if done.is_dry:
        with db.read() as c:
            text = f"SELECT COUNT(*) FROM ({_OLD_SLOTS}) old"
            done.slots = int(c.execute(db.sql(text), (at, 2**31 - 1)).scalar_one())
        return
    while True:
        with db.write() as c:
            text = f'DELETE FROM "AgentScheduleSlot" WHERE ("scheduleId","scheduledAt") IN ({_OLD_SLOTS})'
            deleted = c.execute(db.sql(text), (at, _SLOTS)).rowcount
        done.slots += deleted
        if deleted < _SLOTS:
            return
