"""The ledger of the system tasks: each run of one with its result and duration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autogpt_server.data.connection import Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.model import clock
from autogpt_server.model.ids import least_id, new_id

#: Characters of a result that are kept.
_MAX_RESULT = 10_000
#: Days for which runs are kept.
_KEPT_DAYS = 90
_COLUMNS = '"id","task","cause","scheduledAt","outcome","result","startedAt","endedAt"'


class TaskOutcome(StrEnum):
    #: It runs, or its process ended meanwhile.
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class TaskCause(StrEnum):
    SCHEDULE = "schedule"
    #: Somebody asked for it.
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class TaskRun:
    id: str
    task: str
    cause: TaskCause
    #: The slot that it was started for.
    scheduled_at: datetime | None
    outcome: TaskOutcome
    #: What it answered, or why it failed.
    result: str | None
    started_at: datetime
    ended_at: datetime | None

    @property
    def duration(self) -> timedelta | None:
        return None if self.ended_at is None else self.ended_at - self.started_at


class TaskRuns:
    """The SystemTaskRun table.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def begin(self, task: str, cause: TaskCause, scheduled_at: datetime | None = None) -> str:
        """Write that a task runs now; returns the id of the run.  Runs of months ago go."""
        id_, now = new_id(), clock.now()
        to_column = self._db.to_column
        values = (id_, task, cause.value, to_column(scheduled_at), TaskOutcome.RUNNING.value, to_column(now))
        text = """
INSERT INTO "SystemTaskRun" ("id","task","cause","scheduledAt","outcome","startedAt") VALUES (?,?,?,?,?,?)
"""
        oldest = least_id(clock.to_ms(now - timedelta(days=_KEPT_DAYS)))
        with self._db.write() as c:
            c.execute(self._db.sql(text), values)
            c.execute(self._db.sql('DELETE FROM "SystemTaskRun" WHERE "task" = ? AND "id" < ?'), (task, oldest))
        return id_

    def end(self, id_: str, outcome: TaskOutcome, result: str | None) -> None:
        """Write how a run ended."""
        text = 'UPDATE "SystemTaskRun" SET "outcome" = ?, "result" = ?, "endedAt" = ? WHERE "id" = ?'
        kept = None if result is None else result[:_MAX_RESULT].replace("\0", "")
        with self._db.write() as c:
            c.execute(self._db.sql(text), (outcome.value, kept, self._db.to_column(clock.now()), id_))

    def list(self, task: str, *, limit: int, cursor: str | None = None) -> Page[TaskRun]:
        """Read a page of a task's runs, the latest first."""
        position = cursor_id(cursor)
        where, values = ("", ()) if position is None else (' AND "id" < ?', (position,))
        text = f'SELECT {_COLUMNS} FROM "SystemTaskRun" WHERE "task" = ?{where} ORDER BY "id" DESC LIMIT ?'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (task, *values, limit + 1)).all()
        return page_by_id(rows, limit, self._run)

    def _run(self, row: Row) -> TaskRun:
        started = self._db.from_column(row[6])
        assert started is not None
        scheduled, ended = self._db.from_column(row[3]), self._db.from_column(row[7])
        return TaskRun(row[0], row[1], TaskCause(row[2]), scheduled, TaskOutcome(row[4]), row[5], started, ended)
