"""The ledger of due times: a row for each slot of a schedule, written once, by whoever fires it first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import Any

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, bad_cursor, decode_cursor, encode_cursor
from autogpt_server.model import clock
from autogpt_server.model.schedule import Slot, SlotOutcome

_NAMES = ("scheduleId", "scheduledAt", "outcome", "reason", "graphExecutionId", "lastScheduledAt", "count", "firedAt")
_COLUMNS = ",".join(f'"{name}"' for name in _NAMES)
#: Rows of one statement on SQLite.  Few sizes, so that all stay prepared.
_SIZES = (64, 8, 1)
#: Names of the columns in the JSON that PostgreSQL takes rows apart from, in the order of ``_NAMES``.
_KEYS = ("i", "s", "o", "r", "x", "l", "n", "f")
_FROM_JSON = f"""
INSERT INTO "AgentScheduleSlot" ({_COLUMNS})
SELECT i, TIMESTAMP 'epoch' + s * INTERVAL '1 millisecond', o, r, x, TIMESTAMP 'epoch' + l * INTERVAL '1 millisecond',
       n, TIMESTAMP 'epoch' + f * INTERVAL '1 millisecond'
FROM json_to_recordset(?::json) AS rows (i text, s bigint, o text, r text, x text, l bigint, n int, f bigint)
ON CONFLICT DO NOTHING RETURNING "scheduleId","scheduledAt"
"""
_WRITTEN = """
SELECT MIN("scheduledAt"), MAX(COALESCE("lastScheduledAt","scheduledAt")) FROM "AgentScheduleSlot"
WHERE "scheduleId" = ? AND "scheduledAt" BETWEEN ? AND ?
"""
_WRITTEN_FROM_JSON = """
SELECT x.i, MIN(s."scheduledAt"), MAX(COALESCE(s."lastScheduledAt", s."scheduledAt"))
FROM json_to_recordset(?::json) AS x (i text, f bigint, l bigint)
JOIN "AgentScheduleSlot" s ON s."scheduleId" = x.i
AND s."scheduledAt" BETWEEN TIMESTAMP 'epoch' + x.f * INTERVAL '1 millisecond'
                        AND TIMESTAMP 'epoch' + x.l * INTERVAL '1 millisecond'
GROUP BY x.i
"""


def write_slots(db: Database, c: Connection, slots: Iterable[Slot]) -> set[tuple[str, datetime]]:
    """Insert slots, and return the keys of those that nobody had written before: only these may be fired."""
    rows = [_values(slot) for slot in slots]
    found: list[Row] = []
    if db.provider == "postgresql":
        if rows:
            found += c.execute(db.sql(_FROM_JSON), (db.to_recordset(_KEYS, rows),))
    else:
        start = 0
        for size in _SIZES:
            marks = ",".join(["(?,?,?,?,?,?,?,?)"] * size)
            text = f"""
INSERT INTO "AgentScheduleSlot" ({_COLUMNS}) VALUES {marks}
ON CONFLICT DO NOTHING RETURNING "scheduleId","scheduledAt"
"""
            while len(rows) - start >= size:
                found += c.execute(text, tuple(chain.from_iterable(rows[start : start + size])))
                start += size
    return {(row[0], _required(db.from_column(row[1]))) for row in found}


def written_until(db: Database, c: Connection, ranges: Iterable[tuple[str, datetime, datetime]]) -> dict[str, datetime]:
    """Tell of each schedule whose slot at the first time of a range is written up to when the ledger knows the range.

    Never beyond the range: a clock that was ahead may have decided about years.

    Args:
        db: Where they are.
        c: Inside the transaction that holds the schedules.
        ranges: A schedule's id, its first and its last slot in question.
    """
    rows = [(id_, clock.to_ms(first), clock.to_ms(last)) for id_, first, last in ranges]
    if not rows:
        return {}
    if db.provider == "postgresql":
        found = c.execute(db.sql(_WRITTEN_FROM_JSON), (db.to_recordset("ifl", rows),)).all()
    else:
        found = [(row[0], *c.execute(_WRITTEN, row).one()) for row in rows]
    ends = {(id_, first): last for id_, first, last in rows}
    known = [(id_, _ms(db, first), _ms(db, last)) for id_, first, last in found if first is not None]
    return {id_: clock.from_ms(min(last, ends[id_, first])) for id_, first, last in known if (id_, first) in ends}


class Slots:
    """Reads of the ledger.  Blocking: call in a thread from a loop."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def list(self, schedule_id: str, *, limit: int, cursor: str | None = None) -> Page[Slot]:
        """Read a page of a schedule's slots, the latest first.  The caller has checked whose it is."""
        where, values = "", list[Any]()
        if cursor is not None:
            where = ' AND "scheduledAt" < ?'
            values.append(self._db.to_column(_moment(decode_cursor(cursor))))
        text = f"""
SELECT {_COLUMNS} FROM "AgentScheduleSlot" WHERE "scheduleId" = ?{where} ORDER BY "scheduledAt" DESC LIMIT ?
"""
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (schedule_id, *values, limit + 1)).all()
        items = [self._slot(row) for row in rows[:limit]]
        more = len(rows) > limit
        return Page(items, encode_cursor(str(clock.to_ms(items[-1].scheduled_at))) if more else None)

    def between(self, schedule_id: str, first: datetime, last: datetime) -> list[Slot]:
        """Read the slots of a range, both ends included, by time."""
        text = f"""
SELECT {_COLUMNS} FROM "AgentScheduleSlot" WHERE "scheduleId" = ? AND "scheduledAt" >= ? AND "scheduledAt" <= ?
ORDER BY "scheduledAt"
"""
        values = (schedule_id, self._db.to_column(first), self._db.to_column(last))
        with self._db.read() as c:
            return [self._slot(row) for row in c.execute(self._db.sql(text), values)]

    def claim(self, slot: Slot) -> bool:
        """Write one slot; tells whether nobody had written it before."""
        with self._db.write() as c:
            return bool(write_slots(self._db, c, [slot]))

    def settle(self, slot: Slot) -> None:
        """Change what is told of a slot that was claimed: its outcome, reason and execution."""
        text = """
UPDATE "AgentScheduleSlot" SET "outcome" = ?, "reason" = ?, "graphExecutionId" = ?
WHERE "scheduleId" = ? AND "scheduledAt" = ?
"""
        scheduled_at = self._db.to_column(slot.scheduled_at)
        values = (slot.outcome.value, slot.reason, slot.execution_id, slot.schedule_id, scheduled_at)
        with self._db.write() as c:
            c.execute(self._db.sql(text), values)

    def _slot(self, row: Row) -> Slot:
        return Slot.model_construct(
            schedule_id=row[0],
            scheduled_at=_required(self._db.from_column(row[1])),
            outcome=SlotOutcome(row[2]),
            reason=row[3],
            execution_id=row[4],
            last_scheduled_at=self._db.from_column(row[5]),
            count=row[6],
            fired_at=_required(self._db.from_column(row[7])),
        )


def _values(slot: Slot) -> tuple[Any, ...]:
    last = slot.last_scheduled_at
    return (
        slot.schedule_id,
        clock.to_ms(slot.scheduled_at),
        slot.outcome.value,
        slot.reason,
        slot.execution_id,
        None if last is None else clock.to_ms(last),
        slot.count,
        clock.to_ms(slot.fired_at),
    )


def _moment(position: Any) -> datetime:
    if not (isinstance(position, str) and position.isascii() and position.isdecimal() and len(position) < 15):
        raise bad_cursor()
    return clock.from_ms(int(position))


def _ms(db: Database, value: Any) -> int:
    return clock.to_ms(_required(db.from_column(value)))


def _required(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment
