"""Job rows that cannot be restored are shown, and deleted when somebody asks for it, never otherwise."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import ParkedJobNotFound
from autogpt_server.scheduler.adopted import AdoptedTriggers
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.parked import ParkedJob, find_parked, remove_parked
from tests.data.schedule_rows import make_schedule
from tests.scheduler.job_pickles import NOON, Elsewhere
from tests.scheduler.test_reconcile import find, put, put_state, reconcile, row_ids

JOBS, BATCHES = "apscheduler_jobs", "apscheduler_jobs_batched_notifications"


def put_batch(database: Database, job_id: str, data: bytes) -> None:
    with database.write() as c:
        text = f"INSERT INTO {BATCHES} (id, next_run_time, job_state) VALUES (?,?,?)"
        c.execute(database.sql(text), (job_id, 1.0, data))


def test_rows_of_both_stores_are_found(database: Database) -> None:
    put(database, Elsewhere("cron"))
    reconcile(database)
    put_state(database, "cron", b"tampered")
    put_state(database, "report_late_executions", b"tampered, too")
    put_state(database, "unknown", b"of somebody else")
    put_batch(database, "batch", b"nonsense")
    found = {one.id: one.table for one in find_parked(database)}
    assert found == {"report_late_executions": JOBS, "unknown": JOBS, "cron": JOBS, "batch": BATCHES}
    assert len(find_parked(database, limit=1)) == 1
    assert isinstance(find_parked(database)[0], ParkedJob)


def test_what_is_deleted_is_gone_and_nothing_else(database: Database) -> None:
    put_state(database, "a/b?c", b"garbage")
    put_batch(database, "a/b?c", b"garbage")
    reason = remove_parked(database, JOBS, "a/b?c").reason
    assert "cannot be read" in reason
    assert [(one.table, one.id) for one in find_parked(database)] == [(BATCHES, "a/b?c")]
    remove_parked(database, BATCHES, "a/b?c")
    assert find_parked(database) == []
    with pytest.raises(ParkedJobNotFound, match="No job row a/b"):
        remove_parked(database, JOBS, "a/b?c")


def test_rows_that_can_be_restored_stay(database: Database) -> None:
    put(database, Elsewhere("adopted"))
    reconcile(database)
    ours = make_schedule("g")
    Schedules(database, lambda ids: None).create(ours, job_row(ours))
    put(database, Elsewhere("new"), Elsewhere("cleanup_expired_files", function="cleanup_expired_files", kwargs={}))
    # The schedule says what is true of it, and writes its row again by itself.
    put_state(database, ours.id, b"tampered")
    before = row_ids(database)
    for id_ in before:
        with pytest.raises(ParkedJobNotFound):
            remove_parked(database, JOBS, id_)
    assert row_ids(database) == before


def test_a_schedule_that_was_taken_over_gets_its_row_anew_with_its_numbering_of_weekdays(database: Database) -> None:
    put(database, Elsewhere("cron"))
    reconcile(database)
    put_state(database, "cron", b"tampered")
    assert AdoptedTriggers(database).of_many([find(database, "cron")]) == {}
    remove_parked(database, JOBS, "cron")
    assert find_parked(database) == []
    trigger = AdoptedTriggers(database).of(find(database, "cron"))
    # Its 1 is Tuesday, as it was there.
    assert trigger is not None
    assert trigger.get_next_fire_time(None, NOON) == datetime(2026, 1, 6, 8, tzinfo=UTC)
    with database.read() as c:
        assert c.execute("SELECT next_run_time FROM apscheduler_jobs").scalars() == [NOON.timestamp()]
