"""The tables of APScheduler's job stores, as APScheduler 3 defines them: others read them, and wrote some of them.

They stand outside schema.prisma, and are made by a migration where they are missing.

What a row's pickle says belongs to the scheduler; here it is bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.model import clock

#: Of the schedules of graphs, and of batches of notifications.
EXECUTION_JOBS, NOTIFICATION_JOBS = "apscheduler_jobs", "apscheduler_jobs_batched_notifications"

#: Rows in one statement.
_MANY = 500


@dataclass(frozen=True, slots=True)
class JobRow:
    """A row of a job store; ``next_run_at`` is None for a paused job."""

    id: str
    next_run_at: datetime | None
    #: A pickle.
    state: bytes

    @property
    def next_run_time(self) -> float | None:
        """Seconds since 1970, as APScheduler stores them."""
        return None if self.next_run_at is None else self.next_run_at.timestamp()


def put_jobs(db: Database, c: Connection, rows: Iterable[JobRow]) -> None:
    """Insert rows into the execution store's table, or replace those that are there."""
    values = [(row.id, row.next_run_time, row.state) for row in rows]
    if values:
        c.execute(
            db.sql(
                "INSERT INTO apscheduler_jobs (id, next_run_time, job_state) VALUES (?,?,?) ON CONFLICT (id) "
                "DO UPDATE SET next_run_time = excluded.next_run_time, job_state = excluded.job_state"
            ),
            values,
        )


def update_jobs(db: Database, c: Connection, rows: Sequence[JobRow]) -> None:
    """Change rows of the execution store's table; one that is not there stays away."""
    if db.provider == "postgresql":
        text = """
UPDATE apscheduler_jobs j SET next_run_time = x.t, job_state = x.s
FROM unnest(?::text[], ?::float8[], ?::bytea[]) AS x (i, t, s) WHERE j.id = x.i
"""
        columns = ([row.id for row in rows], [row.next_run_time for row in rows], [row.state for row in rows])
        c.execute(db.sql(text), columns)
    elif rows:
        text = "UPDATE apscheduler_jobs SET next_run_time = ?, job_state = ? WHERE id = ?"
        c.execute(text, [(row.next_run_time, row.state, row.id) for row in rows])


def remove_jobs(db: Database, c: Connection, ids: Sequence[str]) -> None:
    """Delete rows from the execution store's table; those that are not there are no error."""
    for start in range(0, len(ids), _MANY):
        c.execute(
            db.sql(f"DELETE FROM apscheduler_jobs WHERE id {db.among}"), (db.to_list(ids[start : start + _MANY]),)
        )


def next_run_of(db: Database, c: Connection, job_id: str) -> datetime | None:
    """Tell when a job of the execution store is due next; None where it is paused, or not there."""
    text = "SELECT next_run_time FROM apscheduler_jobs WHERE id = ?"
    row = c.execute(db.sql(text), (job_id,)).first()
    return None if row is None or row[0] is None else clock.from_ms(int(row[0] * 1000))


def read_jobs(db: Database, c: Connection, ids: Sequence[str]) -> dict[str, bytes]:
    """Read the pickles of some rows of the execution store's table."""
    rows = c.execute(
        db.sql(f"SELECT id, job_state FROM apscheduler_jobs WHERE id {db.among}"), (db.to_list(ids),)
    ).all()
    return {row[0]: bytes(row[1]) for row in rows}
