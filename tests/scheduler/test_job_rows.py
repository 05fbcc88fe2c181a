"""A job row is what APScheduler would have stored: a plain job store reads it, where this package can be imported."""

from __future__ import annotations

from datetime import timedelta

import pytest
from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from autogpt_server.data import sqlite
from autogpt_server.data.database import Database
from autogpt_server.data.schedules import Schedules
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.timetable import due_at
from tests.data.schedule_rows import NOON, make_schedule


def read_plainly(database: Database) -> dict[str, Job]:
    path = database.url.path
    if path is None:
        engine = create_engine(database.url.sqlalchemy)
    else:
        driver = sqlite.load_driver()
        engine = create_engine(
            "sqlite://", module=driver, creator=lambda: sqlite.connect(path, driver), poolclass=StaticPool
        )
    store = SQLAlchemyJobStore(engine=engine)
    store.start(BackgroundScheduler(), "execution")
    try:
        return {job.id: job for job in store.get_all_jobs()}
    finally:
        store.shutdown()


@pytest.mark.parametrize(
    "fields",
    [
        {"cron": "30 9 * * 1-5", "timezone": "Europe/Berlin", "jitter_seconds": 20},
        {"cron": "", "interval_seconds": 90, "ends_at": NOON + timedelta(days=9)},
        {"cron": "", "run_at": NOON},
    ],
)
def test_a_plain_job_store_reads_what_is_stored(database: Database, fields: dict) -> None:
    schedule = make_schedule(
        "graph-1", name="Morning", inputs={"x": [1, "ü"]}, credentials={"k": {"id": "c"}}, **fields
    )
    Schedules(database, lambda ids: None).create(schedule, job_row(schedule))
    job = read_plainly(database)[schedule.id]
    assert job.next_run_time == due_at(schedule, NOON)
    assert str(job.next_run_time.tzinfo) == schedule.timezone
    assert (job.name, job.func_ref) == ("Morning", "autogpt_server.scheduler.jobs:execute_graph")
    assert job.kwargs == {
        "user_id": schedule.user_id, "graph_id": "graph-1", "graph_version": 1, "cron": schedule.cron,
        "input_data": {"x": [1, "ü"]}, "input_credentials": {"k": {"id": "c"}},
    }  # fmt: skip
    after = job.trigger.get_next_fire_time(None, NOON - timedelta(hours=3))
    assert after is not None


def test_a_paused_schedule_is_a_paused_job_and_one_that_is_over_is_none() -> None:
    paused = make_schedule("g", is_enabled=False, next_run_at=None)
    row = job_row(paused)
    assert row is not None
    assert row.next_run_time is None
    over: Schedule = make_schedule("g", next_run_at=None)
    assert job_row(over) is None
