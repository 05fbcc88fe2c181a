"""Where job rows and schedules differ: compared by their ids, in SQL, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import EXECUTION_JOBS, JobRow, put_jobs
from autogpt_server.data.schedules import JobOf, schedule_of, select_live
from autogpt_server.model.clock import from_ms

#: The end of the year 9999, in seconds since 1970.
_END_OF_TIME = 253_402_300_800


@dataclass(frozen=True, slots=True)
class StrayJob:
    """A row of a job store that no schedule stands for."""

    id: str
    #: Seconds since 1970; None for a paused one.
    next_run_time: float | None
    state: bytes

    @property
    def next_run_at(self) -> datetime | None:
        """None also for what is no time."""
        if self.next_run_time is None or not 0 <= self.next_run_time < _END_OF_TIME:
            return None
        return from_ms(round(self.next_run_time * 1000))


class StrayJobs:
    """Finds and mends what differs.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def unknown(self, known: Sequence[str], *, after: str = "", limit: int) -> list[StrayJob]:
        """Read rows of the execution store whose ids no schedule has or ever had, by id.

        Args:
            known: Ids of jobs that are no schedules.
            after: The last id of the page before.
            limit: How many at most.
        """
        text = f"""
SELECT j.id, j.next_run_time, j.job_state FROM apscheduler_jobs j
LEFT JOIN "AgentExecutionSchedule" s ON s."id" = j.id
WHERE s."id" IS NULL AND j.id > ? AND NOT (j.id {self._db.among}) ORDER BY j.id LIMIT ?
"""
        return self._rows(text, (after, self._db.to_list(known), limit))

    def all(self, table: str, *, after: str = "", limit: int) -> list[StrayJob]:
        """Read a page of all rows of a store, by id."""
        text = f"SELECT j.id, j.next_run_time, j.job_state FROM {table} j WHERE j.id > ? ORDER BY j.id LIMIT ?"
        return self._rows(text, (after, limit))

    def adopted(self, *, after: str = "", limit: int) -> list[StrayJob]:
        """Read a page of the rows whose schedules were taken over, by id."""
        text = """
SELECT j.id, j.next_run_time, j.job_state FROM apscheduler_jobs j
JOIN "AgentExecutionSchedule" s ON s."id" = j.id WHERE s."isAdopted" = ? AND j.id > ? ORDER BY j.id LIMIT ?
"""
        return self._rows(text, (True, after, limit))

    def find(self, table: str, job_id: str) -> StrayJob | None:
        """Read one row of a store."""
        found = self._rows(f"SELECT j.id, j.next_run_time, j.job_state FROM {table} j WHERE j.id = ?", (job_id,))
        return found[0] if found else None

    def is_adopted(self, job_id: str) -> bool | None:
        """Tell whether the schedule by a job's id was taken over; None where there never was one."""
        text = 'SELECT "isAdopted", "deletedAt" IS NULL FROM "AgentExecutionSchedule" WHERE "id" = ?'
        with self._db.read() as c:
            row = c.execute(self._db.sql(text), (job_id,)).first()
        return None if row is None else bool(row[0] and row[1])

    def remove(self, table: str, job: StrayJob) -> bool:
        """Delete a row as it was read; tells whether it still was so."""
        text = f"DELETE FROM {table} WHERE id = ? AND job_state = ?"
        with self._db.write() as c:
            return c.execute(self._db.sql(text), (job.id, job.state)).rowcount == 1

    def remove_buried(self) -> int:
        """Delete the rows of schedules that were deleted; returns how many."""
        text = f"""
DELETE FROM {EXECUTION_JOBS} WHERE id IN (SELECT j.id FROM {EXECUTION_JOBS} j
JOIN "AgentExecutionSchedule" s ON s."id" = j.id WHERE s."deletedAt" IS NOT NULL)
"""
        # Looked for first: most often there are none, and a write would keep others from writing.
        with self._db.read() as c:
            found = c.execute(
                self._db.sql(
                    f'SELECT 1 FROM {EXECUTION_JOBS} j JOIN "AgentExecutionSchedule" s ON s."id" = j.id '
                    'WHERE s."deletedAt" IS NOT NULL LIMIT ?'
                ),
                (1,),
            ).first()
        if found is None:
            return 0
        with self._db.write() as c:
            return c.execute(text).rowcount

    def rowless(self, *, limit: int) -> list[str]:
        """Find schedules that will fire and have no row."""
        text = """
SELECT s."id" FROM "AgentExecutionSchedule" s LEFT JOIN apscheduler_jobs j ON j.id = s."id"
WHERE j.id IS NULL AND s."deletedAt" IS NULL AND s."nextRunAt" IS NOT NULL ORDER BY s."id" LIMIT ?
"""
        with self._db.read() as c:
            return c.execute(self._db.sql(text), (limit,)).scalars()

    def make_rows(self, ids: Sequence[str], job_of: JobOf) -> int:
        """Write the rows of schedules, as these are by now; returns how many."""
        lock = " FOR UPDATE" if self._db.provider == "postgresql" else ""
        with self._db.write() as c:
            text = f'{select_live()} AND "id" {self._db.among}{lock}'
            found = c.execute(self._db.sql(text), (self._db.to_list(ids),))
            rows: list[JobRow] = [row for one in found if (row := job_of(schedule_of(self._db, one))) is not None]
            put_jobs(self._db, c, rows)
        return len(rows)

    def _rows(self, text: str, values: tuple[object, ...]) -> list[StrayJob]:
        with self._db.read() as c:
            return [StrayJob(row[0], row[1], bytes(row[2])) for row in c.execute(self._db.sql(text), values)]
