"""Schedules as users list and edit them.  Each change writes the schedule and its job row in one transaction.

A process that fires schedules hears of a change by ``announce``; firing them stands in firing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import JobRow, put_jobs, remove_jobs
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.data.schemas import SCHEMA_NUMBER
from autogpt_server.errors import ScheduleNotFound
from autogpt_server.model import clock
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.schedule import ExcludedDates, MisfirePolicy, OverlapPolicy, Schedule
from autogpt_server.service.crash_points import crash_point

#: SQL for PostgreSQL's channel on which schedulers on all machines hear which schedules of their schema changed.
CHANNEL = f"'autogpt_schedules_' || {SCHEMA_NUMBER}"
#: Ids in one announcement: PostgreSQL takes 8,000 bytes.
_MAX_ANNOUNCED = 200

_NAMES = (
    "id", "agentGraphId", "agentGraphVersion", "checkedVersion", "userId", "name", "schedule", "runAt",
    "intervalSeconds", "timezone", "isEnabled", "inputData", "inputCredentials", "misfirePolicy", "misfireLimit",
    "overlapPolicy", "startsAt", "endsAt", "maxRuns", "runs", "jitterSeconds", "excludedDates", "pauseAfterFailures",
    "nextRunAt", "revision", "pausedAt", "pausedBy", "pausedReason", "isAdopted", "createdAt", "lastUpdated",
)  # fmt: skip
_COLUMNS = ",".join(f'"{name}"' for name in _NAMES)
_LIVE = f'SELECT {_COLUMNS} FROM "AgentExecutionSchedule" WHERE "deletedAt" IS NULL'
_INSERT = f'INSERT INTO "AgentExecutionSchedule" ({_COLUMNS}) VALUES ({",".join("?" * len(_NAMES))})'
#: Adopting may be tried by several schedulers, and must not bring a deleted one back.
_ADOPT = f"{_INSERT} ON CONFLICT DO NOTHING"
_UPDATE = f'UPDATE "AgentExecutionSchedule" SET {",".join(f""""{name}" = ?""" for name in _NAMES[1:])} WHERE "id" = ?'

Change = Callable[[Schedule], Schedule]
"""Makes the next state of a schedule from the present one; raises to refuse."""
JobOf = Callable[[Schedule], JobRow | None]
"""Makes the job row of a schedule; None where it never fires again or is paused for good."""


class Schedules:
    """Reads and edits.  Blocking: call in a thread from a loop.

    Args:
        database: Where they are.
        announce: Called with ids after the commit that changed them.
    """

    def __init__(self, database: Database, announce: Callable[[list[str]], None]) -> None:
        self._db, self._announce = database, announce

    def create(self, schedule: Schedule, job: JobRow | None) -> None:
        """Store a new schedule."""
        with self._db.write() as c:
            insert_schedules(self._db, c, [schedule])
            _write_job(self._db, c, schedule.id, job)
            self._notify(c, [schedule.id])
            crash_point("schedule.written")
        crash_point("schedule.committed")
        self._announce([schedule.id])

    def adopt(self, schedules: Iterable[Schedule]) -> list[str]:
        """Store schedules whose job rows another deployment wrote; returns the ids of those that were not known."""
        text = self._db.sql(_ADOPT)
        with self._db.write() as c:
            adopted = [one.id for one in schedules if c.execute(text, _values(self._db, one)).rowcount == 1]
            self._notify(c, adopted)
        if adopted:
            self._announce(adopted)
        return adopted

    def get(self, user_id: str, schedule_id: str) -> Schedule:
        """Read one.

        Raises:
            ScheduleNotFound: Unknown, deleted, or another user's.
        """
        schedule = self.find(schedule_id)
        if schedule is None or schedule.user_id != user_id:
            raise ScheduleNotFound(schedule_id)
        return schedule

    def find(self, schedule_id: str) -> Schedule | None:
        """Read anybody's; None where it is unknown or deleted."""
        found = self.read([schedule_id])
        return found[0] if found else None

    def read(self, schedule_ids: Sequence[str]) -> list[Schedule]:
        """Read some; unknown and deleted ones are left out."""
        text = f'{_LIVE} AND "id" {self._db.among}'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (self._db.to_list(schedule_ids),)).all()
        return [schedule_of(self._db, row) for row in rows]

    def list(
        self,
        user_id: str,
        graph_id: str | None = None,
        is_enabled: bool | None = None,
        *,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Schedule]:
        """Read a page of a user's schedules, the newest first: of one graph or of all, paused or not or both."""
        where, values = ' AND "userId" = ?', list[Any]([user_id])
        if graph_id is not None:
            where += ' AND "agentGraphId" = ?'
            values.append(graph_id)
        if is_enabled is not None:
            where += ' AND "isEnabled" = ?'
            values.append(is_enabled)
        if cursor is not None:
            where += ' AND "id" < ?'
            values.append(cursor_id(cursor))
        with self._db.read() as c:
            text = self._db.sql(f'{_LIVE}{where} ORDER BY "id" DESC LIMIT ?')
            rows = c.execute(text, (*values, limit + 1)).all()
        return page_by_id(rows, limit, lambda row: schedule_of(self._db, row))

    def firing(self, user_id: str | None, graph_id: str | None) -> list[Schedule]:
        """Read all that will fire, by age: of a user, of a graph, of both, or every one."""
        where, values = ' AND "nextRunAt" IS NOT NULL', list[Any]()
        for column, value in (("userId", user_id), ("agentGraphId", graph_id)):
            if value is not None:
                where += f' AND "{column}" = ?'
                values.append(value)
        with self._db.read() as c:
            rows = c.execute(self._db.sql(f'{_LIVE}{where} ORDER BY "id"'), tuple(values)).all()
        return [schedule_of(self._db, row) for row in rows]

    def due(self, until: datetime, *, after: tuple[datetime, str] | None = None, limit: int) -> list[Schedule]:
        """Read those whose next slot comes before a moment, by slot and id.

        Args:
            until: The moment.
            after: Slot and id of the last one that is known already.
            limit: How many at most.
        """
        where, values = ' AND "nextRunAt" < ?', [self._db.to_column(until)]
        if after is not None:
            where += ' AND ("nextRunAt","id") > (?,?)'
            values += [self._db.to_column(after[0]), after[1]]
        with self._db.read() as c:
            text = self._db.sql(f'{_LIVE}{where} ORDER BY "nextRunAt","id" LIMIT ?')
            rows = c.execute(text, (*values, limit)).all()
        return [schedule_of(self._db, row) for row in rows]

    def ahead(self, now: datetime, then: datetime, *, after: str, limit: int) -> list[Schedule]:
        """Read, by id, those that fire after ``now`` although the ledger tells of a slot after ``then``.

        Args:
            now: What the clock shows.
            then: The same, or a little later.
            after: The last id of the page before.
            limit: How many at most.
        """
        # The latest row of a ledger holds its latest slot.
        text = f"""
{_LIVE} AND "nextRunAt" > ? AND "id" > ? AND (SELECT COALESCE("lastScheduledAt","scheduledAt")
FROM "AgentScheduleSlot" WHERE "scheduleId" = "AgentExecutionSchedule"."id" ORDER BY "scheduledAt" DESC LIMIT 1) > ?
ORDER BY "id" LIMIT ?
"""
        values = (self._db.to_column(now), after, self._db.to_column(then), limit)
        with self._db.read() as c:
            return [schedule_of(self._db, row) for row in c.execute(self._db.sql(text), values)]

    def edit(self, schedule_id: str, change: Change, job_of: JobOf) -> Schedule:
        """Change a schedule, and its job row with it; revision and time of change are raised here.

        Args:
            schedule_id: Whose; ``change`` checks the owner.
            change: Makes the next state.  Called inside the transaction, so it must be quick, and perhaps twice.
            job_of: Makes the job row of that.

        Raises:
            ScheduleNotFound: Unknown or deleted.
        """
        with self._db.write() as c:
            before = self._lock(c, schedule_id)
            news = {"revision": before.revision + 1, "updated_at": clock.from_ms(clock.now_ms())}
            after = change(before).model_copy(update=news)
            _, *values = _values(self._db, after)
            c.execute(self._db.sql(_UPDATE), (*values, schedule_id))
            _write_job(self._db, c, schedule_id, job_of(after))
            self._notify(c, [schedule_id])
            crash_point("schedule.written")
        crash_point("schedule.committed")
        self._announce([schedule_id])
        return after

    def delete(self, schedule_id: str, check: Callable[[Schedule], None]) -> Schedule:
        """Delete a schedule and its job row, and leave a tombstone; returns it as it was.

        Args:
            schedule_id: Whose.
            check: Raises to refuse.

        Raises:
            ScheduleNotFound: Unknown or deleted.
        """
        with self._db.write() as c:
            before = self._lock(c, schedule_id)
            check(before)
            bury(self._db, c, [schedule_id])
            self._notify(c, [schedule_id])
            crash_point("schedule.written")
        crash_point("schedule.committed")
        self._announce([schedule_id])
        return before

    def _lock(self, c: Connection, schedule_id: str) -> Schedule:
        lock = " FOR UPDATE" if self._db.provider == "postgresql" else ""
        row = c.execute(self._db.sql(f'{_LIVE} AND "id" = ?{lock}'), (schedule_id,)).first()
        if row is None:
            raise ScheduleNotFound(schedule_id)
        return schedule_of(self._db, row)

    def _notify(self, c: Connection, ids: list[str]) -> None:
        """Tell schedulers on other machines, at the commit."""
        if self._db.provider == "postgresql" and ids:
            told = " ".join(ids) if len(ids) <= _MAX_ANNOUNCED else ""
            c.execute(self._db.sql(f"SELECT pg_notify({CHANNEL}, ?)"), (told,))


def insert_schedules(db: Database, c: Connection, schedules: Iterable[Schedule]) -> None:
    """Insert new schedules inside a transaction; whoever does so writes their job rows as well."""
    c.execute(db.sql(_INSERT), [_values(db, schedule) for schedule in schedules])


def bury(db: Database, c: Connection, ids: Sequence[str]) -> None:
    """Make tombstones of schedules, which nothing brings back."""
    now = db.to_column(clock.now())
    text = f"""
UPDATE "AgentExecutionSchedule" SET "deletedAt" = ?, "isEnabled" = ?, "nextRunAt" = NULL, "lastUpdated" = ?,
"revision" = "revision" + 1 WHERE "id" {db.among} AND "deletedAt" IS NULL
"""
    c.execute(db.sql(text), (now, False, now, db.to_list(ids)))
    remove_jobs(db, c, ids)


def _write_job(db: Database, c: Connection, schedule_id: str, job: JobRow | None) -> None:
    if job is None:
        remove_jobs(db, c, [schedule_id])
    else:
        put_jobs(db, c, [job])


def _values(db: Database, s: Schedule) -> tuple[Any, ...]:
    return (
        s.id, s.graph_id, s.graph_version, s.checked_version, s.user_id, s.name, s.cron, db.to_column(s.run_at),
        s.interval_seconds, s.timezone, s.is_enabled, dumps(s.inputs), dumps(s.credentials), s.misfire_policy.value,
        s.misfire_limit, s.overlap_policy.value, db.to_column(s.starts_at), db.to_column(s.ends_at), s.max_runs, s.runs,
        s.jitter_seconds, dumps([one.model_dump(mode="json") for one in s.excluded_dates]), s.pause_after_failures,
        db.to_column(s.next_run_at), s.revision, db.to_column(s.paused_at), s.paused_by, s.paused_reason, s.is_adopted,
        db.to_column(s.created_at), db.to_column(s.updated_at),
    )  # fmt: skip


def select_live() -> str:
    """Give the SQL that reads what ``schedule_of`` takes of those that are not deleted; conditions may follow."""
    return _LIVE


def schedule_of(db: Database, row: Row) -> Schedule:
    """Make a schedule of the columns that ``_COLUMNS`` names."""
    (id_, graph_id, version, checked, user_id, name, cron, run_at, interval, zone, is_enabled, inputs, credentials,
     misfire, misfire_limit, overlap, starts_at, ends_at, max_runs, runs, jitter, excluded, failures, next_run_at,
     revision, paused_at, paused_by, paused_reason, is_adopted, created_at, updated_at) = row  # fmt: skip
    # What our own columns hold was checked when it was written; tens of thousands are read at once.
    return Schedule.model_construct(
        id=id_,
        graph_id=graph_id,
        graph_version=version,
        checked_version=checked,
        user_id=user_id,
        name=name,
        cron=cron,
        run_at=db.from_column(run_at),
        interval_seconds=interval,
        timezone=zone,
        is_enabled=bool(is_enabled),
        inputs={} if inputs == "{}" else loads(inputs),
        credentials={} if credentials == "{}" else loads(credentials),
        misfire_policy=MisfirePolicy(misfire),
        misfire_limit=misfire_limit,
        overlap_policy=OverlapPolicy(overlap),
        starts_at=db.from_column(starts_at),
        ends_at=db.from_column(ends_at),
        max_runs=max_runs,
        runs=runs,
        jitter_seconds=jitter,
        excluded_dates=() if excluded == "[]" else tuple(ExcludedDates.model_validate(one) for one in loads(excluded)),
        pause_after_failures=failures,
        next_run_at=db.from_column(next_run_at),
        revision=revision,
        paused_at=db.from_column(paused_at),
        paused_by=paused_by,
        paused_reason=paused_reason,
        is_adopted=bool(is_adopted),
        created_at=db.from_column(created_at),
        updated_at=db.from_column(updated_at),
    )
