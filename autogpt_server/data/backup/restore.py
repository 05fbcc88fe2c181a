"""Restoring a backup while servers run: all of it in one transaction, or nothing.

Executors that run lose their leases with it, stop, and are started again; what they had begun is not theirs any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from autogpt_server.data.backup.archive import Archive, Manifest
from autogpt_server.data.backup.tables import TABLES, columns_of, reader
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database, is_deadlock
from autogpt_server.data.ends import Ends
from autogpt_server.data.migrations import migrate, status
from autogpt_server.data.release import end_running_nodes
from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.service.crash_points import crash_point
from autogpt_server.settings import Settings

#: Rows in one statement.
_MANY = 500
_STOPPED = "stopped by a restore: it had not ended when the backup was made"
_UNFINISHED = ("INCOMPLETE", "QUEUED", "RUNNING", "PAUSED")
#: Tries where PostgreSQL breaks one off because it and a server wait for each other.
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    rows: int
    #: Schedules that were paused, and executions that were stopped.
    paused: int
    stopped: int


def restore(
    settings: Settings, path: Path, *, enables_schedules: bool = False, resumes_executions: bool = False
) -> Restored:
    """Replace everything in the database by what a backup holds.

    Args:
        settings: Of the database.
        path: The backup; one of the other kind of database is as good.
        enables_schedules: Let schedules go on that were enabled; by default they start paused.
        resumes_executions: Let executions go on that had not ended; by default they are stopped, because what they
            did outside since the backup was made is not known.

    Raises:
        InvalidError: The file is damaged, or of a newer release; nothing was changed.
        Unavailable: The database is away; nothing was changed.
    """
    with Archive(path) as archive:
        # All of it, before anything is touched.
        archive.verify()
        migrate(settings)
        _check_release(settings, archive.manifest, path)
        database = Database.from_settings(settings)
        # Servers at work lock the tables in other orders.
        patient = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, Unavailable) and is_deadlock(error)),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random(0, 0.5),
            reraise=True,
        )
        try:
            return patient(_write, database, archive, enables_schedules, resumes_executions)
        finally:
            database.close()


def _write(database: Database, archive: Archive, enables_schedules: bool, resumes_executions: bool) -> Restored:
    with database.write() as c:
        rows = _replace(database, c, archive)
        crash_point("restore.filled")
        paused = 0 if enables_schedules else _pause_schedules(database, c, archive.manifest)
        stopped = _requeue(database, c) if resumes_executions else _stop_executions(database, c)
        _hold_messages(database, c)
        crash_point("restore.written")
    return Restored(archive.manifest, rows, paused, stopped)


def _check_release(settings: Settings, manifest: Manifest, path: Path) -> None:
    applied = set(status(settings).applied)
    if unknown := sorted(set(manifest.migrations) - applied):
        problem = Problem(str(path), f"is of a newer release: it has {unknown[-1]}", "install that release first")
        raise InvalidError("The backup was refused.", [problem])


def _replace(database: Database, c: Connection, archive: Archive) -> int:
    if database.provider == "postgresql":
        names = ",".join(f'"{table}"' for table in (*TABLES, "Executor"))
        c.execute(f"TRUNCATE {names}")
    else:
        for table in (*reversed(TABLES), "Executor"):
            c.execute(f'DELETE FROM "{table}"')
    crash_point("restore.emptied")
    return sum(_fill(database, c, archive, table) for table in TABLES if table in archive.manifest.tables)


def _fill(database: Database, c: Connection, archive: Archive, table: str) -> int:
    part = archive.manifest.tables[table]
    kinds = columns_of(database, c, table)
    if unknown := [name for name in part.columns if name not in kinds]:
        problem = Problem(table, f"has columns that this release does not know: {', '.join(unknown[:5])}")
        raise InvalidError("The backup was refused.", [problem])
    readers = [reader(database, kinds[name]) for name in part.columns]
    names = ",".join(f'"{name}"' for name in part.columns)
    rows = ([read(value) for read, value in zip(readers, row, strict=True)] for row in archive.rows(table))
    if database.provider == "postgresql":
        with c.driver_connection.cursor().copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
    else:
        text = f'INSERT INTO "{table}" ({names}) VALUES ({",".join("?" * len(part.columns))})'
        for batch in _batches(rows):
            c.execute(text, batch)
    return part.rows


def _batches(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    batch: list[list[Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _MANY:
            yield batch
            batch = []
    if batch:
        yield batch


def _pause_schedules(db: Database, c: Connection, manifest: Manifest) -> int:
    now = db.to_column(clock.now())
    reason = f"restored from a backup of {manifest.created_at}"
    ids = 'SELECT "id" FROM "AgentExecutionSchedule" WHERE "isEnabled" = ? AND "deletedAt" IS NULL'
    c.execute(db.sql(f"UPDATE apscheduler_jobs SET next_run_time = NULL WHERE id IN ({ids})"), (True,))
    text = """
UPDATE "AgentExecutionSchedule" SET "isEnabled" = ?, "nextRunAt" = NULL, "pausedAt" = ?, "pausedBy" = 'restore',
"pausedReason" = ?, "lastUpdated" = ?, "revision" = "revision" + 1 WHERE "isEnabled" = ? AND "deletedAt" IS NULL
"""
    return c.execute(db.sql(text), (False, now, reason, now, True)).rowcount


def _stop_executions(db: Database, c: Connection) -> int:
    marks = ",".join(f"'{status}'" for status in _UNFINISHED)
    text = f"""
UPDATE "AgentGraphExecution" SET "status" = 'TERMINATED', "error" = ?, "endedAt" = ?, "executor" = NULL,
"revision" = "revision" + 1 WHERE "status" IN ({marks}) RETURNING "id","revision"
"""
    rows = c.execute(db.sql(text), (_STOPPED, db.to_column(clock.now()))).all()
    for id_, revision in rows:
        end_running_nodes(db, c, Ends(), id_, ExecutionStatus.TERMINATED, None, revision)
    return len(rows)


def _requeue(db: Database, c: Connection) -> int:
    """Queue what was RUNNING: its executors are no more."""
    c.execute(
        'UPDATE "AgentGraphExecution" SET "status" = \'QUEUED\', "executor" = NULL, "revision" = "revision" + 1 '
        "WHERE \"status\" = 'RUNNING'"
    )
    return 0


def _hold_messages(db: Database, c: Connection) -> None:
    """Send nothing that waited when the backup was made: most of it has been sent since."""
    c.execute(db.sql('UPDATE "Notification" SET "isBatched" = ?'), (True,))
    c.execute(
        db.sql("""
UPDATE "NotificationMessage" SET "state" = 'failed', "error" = ? WHERE "state" IN ('waiting','sending')
"""),
        ("it waited when the backup was made that was restored since",),
    )
