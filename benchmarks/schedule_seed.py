"""Schedules, as many as wanted, written by plain bulk SQL with the job rows that belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import put_jobs
from autogpt_server.data.schedules import insert_schedules
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.job_rows import job_row

#: Schedules written in one transaction.
_BATCH = 2_000


def seed_schedules(database: Database, graph_id: str, count: int, next_run_at: datetime) -> list[str]:
    """Store schedules of a graph that are next due at a moment, each with a cron of its own; returns their ids."""
    ids: list[str] = []
    made = _schedules(graph_id, count, next_run_at)
    while batch := [schedule for _, schedule in zip(range(_BATCH), made, strict=False)]:
        with database.write() as connection:
            insert_schedules(database, connection, batch)
            put_jobs(database, connection, [row for one in batch if (row := job_row(one)) is not None])
        ids += [one.id for one in batch]
    return ids


def _schedules(graph_id: str, count: int, next_run_at: datetime) -> Iterator[Schedule]:
    now = clock.from_ms(clock.now_ms())
    for i in range(count):
        yield Schedule(
            id=new_id(),
            graph_id=graph_id,
            graph_version=1,
            checked_version=1,
            user_id=DEFAULT_USER_ID,
            name=f"schedule {i}",
            cron=f"{i % 60} {i // 60 % 24} * * *",
            timezone=("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo")[i % 4],
            next_run_at=next_run_at,
            created_at=now,
            updated_at=now,
        )
