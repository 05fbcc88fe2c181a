"""Job stores on both databases: rows that others wrote, rows that nobody can read, and writers that take turns."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from psycopg import sql

from autogpt_server.data.database import Database
from autogpt_server.data.file_lock import FileLock
from autogpt_server.data.job_tables import JobRow, put_jobs
from autogpt_server.data.migrations import migrate
from autogpt_server.scheduler.known_functions import PROCESS_WEEKLY_SUMMARY, REPORT_LATE_EXECUTIONS
from autogpt_server.scheduler.stores import JobStore, Jobstores, MemoryStore, make_store
from autogpt_server.scheduler.triggers import UnixCronTrigger
from autogpt_server.settings import Settings
from tests.make_settings import make_settings
from tests.postgres_server import PostgresServer
from tests.scheduler.job_pickles import NOON, Elsewhere, state, stored_elsewhere

LATER = NOON + timedelta(hours=1)

#: Reads a store as a plain APScheduler does that can import this package.
PLAIN = """
import sys, logging
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
logging.basicConfig(level="ERROR")
scheduler = BackgroundScheduler(jobstores={"default": SQLAlchemyJobStore(url=sys.argv[1])})
scheduler.start(paused=True)
for job in scheduler.get_jobs():
    print(job.id, job.func_ref, job.next_run_time.isoformat(), job.trigger)
"""


@pytest.fixture
def store(settings: Settings) -> Iterator[JobStore]:
    store = make_store(settings, Jobstores.EXECUTION, ("late",))
    yield store
    store.shutdown()


@pytest.fixture
def batches(settings: Settings) -> Iterator[JobStore]:
    store = make_store(settings, Jobstores.BATCHED_NOTIFICATIONS)
    yield store
    store.shutdown()


def put(database: Database, *rows: JobRow, table: str = "apscheduler_jobs") -> None:
    with database.write() as c:
        if table == "apscheduler_jobs":
            put_jobs(database, c, rows)
            return
        text = f"INSERT INTO {table} (id, next_run_time, job_state) VALUES (?,?,?)"
        c.execute(database.sql(text), [(row.id, row.next_run_time, row.state) for row in rows])


def ids(database: Database, table: str = "apscheduler_jobs") -> list[str]:
    with database.read() as c:
        return c.execute(f"SELECT id FROM {table} ORDER BY id").scalars()


class Idle(BackgroundScheduler):
    """Runs nothing, not even at its end, when a paused one looks once more."""

    def _process_jobs(self) -> float | None:
        return None


def running(*stores: tuple[str, JobStore]) -> Idle:
    scheduler = Idle(timezone=UTC)
    for name, store in stores:
        scheduler.add_jobstore(store, name)
    scheduler.start(paused=True)
    return scheduler


def pickled(**changes: Any) -> bytes:
    return pickle.dumps(state(**changes))


def test_jobs_are_added_found_changed_and_removed(store: JobStore, database: Database) -> None:
    scheduler = running(("execution", store))
    trigger = IntervalTrigger(seconds=60, timezone=UTC, start_date=NOON)
    scheduler.add_job(REPORT_LATE_EXECUTIONS, trigger, id="late", jobstore="execution", next_run_time=NOON)
    assert [job.id for job in store.get_due_jobs(NOON)] == ["late"]
    assert store.get_due_jobs(NOON - timedelta(seconds=1)) == []
    assert store.get_next_run_time() == NOON
    scheduler.modify_job("late", "execution", next_run_time=LATER)
    found = store.lookup_job("late")
    assert found is not None and found.next_run_time == LATER
    scheduler.remove_job("late", "execution")
    assert ids(database) == []
    scheduler.shutdown()


def test_a_row_that_cannot_be_restored_is_parked_and_stays(
    batches: JobStore, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    table = "apscheduler_jobs_batched_notifications"
    good = stored_elsewhere(Elsewhere("good", function="process_existing_batches", enum=True))[0]
    put(database, JobRow("good", NOON, good), JobRow("bad", NOON, b"nonsense"), table=table)
    put(database, JobRow("other", NOON, pickled(id="another")), table=table)
    for _ in range(2):
        assert [job.id for job in batches.get_due_jobs(LATER)] == ["good"]
    assert [job.id for job in batches.get_all_jobs()] == ["good"]
    assert batches.lookup_job("bad") is None
    assert ids(database, table) == ["bad", "good", "other"]
    assert set(batches.parked()) == {"bad", "other"}
    assert batches.parked()["other"] == "its pickle is that of job 'another'"
    # Told once, however often it is due.
    assert len([one for one in caplog.records if "bad" in one.getMessage()]) == 1
    # A parked row that is due for ever must not keep the scheduler awake.
    batches.remove_job("good")
    assert batches.get_next_run_time() is None
    with database.write() as c:
        c.execute(database.sql(f"UPDATE {table} SET job_state = ? WHERE id = ?"), (pickled(id="bad"), "bad"))
    assert [job.id for job in batches.get_due_jobs(LATER)] == ["bad"]
    assert set(batches.parked()) == {"other"}


def test_rows_of_schedules_are_left_to_who_fires_them(store: JobStore, database: Database) -> None:
    put(database, JobRow("schedule", NOON, pickled(id="schedule")), JobRow("broken", NOON, b"nonsense"))
    assert store.get_due_jobs(LATER) == []
    assert store.get_next_run_time() is None
    assert store.parked() == {}
    put(database, JobRow("late", LATER, pickled(id="late", func=REPORT_LATE_EXECUTIONS)))
    assert store.get_next_run_time() == LATER
    assert [job.id for job in store.get_all_jobs()] == ["schedule", "late"]


def test_what_another_deployment_stored_is_run_by_our_function(store: JobStore, database: Database) -> None:
    row = stored_elsewhere(Elsewhere("late", "IntervalTrigger(seconds=60, timezone='UTC')", "report_late_executions"))
    put(database, JobRow("late", NOON, row[0]))
    (job,) = store.get_due_jobs(NOON)
    assert job.func_ref == REPORT_LATE_EXECUTIONS


@pytest.mark.parametrize(
    "trigger", ["IntervalTrigger(seconds=1, timezone='UTC')", "CronTrigger.from_crontab('* * * * *')"]
)
def test_ten_years_that_were_missed_are_not_worked_out_one_by_one(
    store: JobStore, database: Database, trigger: str
) -> None:
    put(database, JobRow("late", NOON, stored_elsewhere(Elsewhere("late", trigger))[0]))
    ten_years_on = NOON.replace(year=2036)
    (job,) = store.get_due_jobs(ten_years_on)
    assert job.next_run_time is not None
    assert timedelta(0) <= ten_years_on - job.next_run_time <= timedelta(days=1)


def test_nor_are_they_of_jobs_that_are_kept_in_memory() -> None:
    store = MemoryStore()
    scheduler = running(("weekly", store))
    trigger = UnixCronTrigger("0 * * * *")
    scheduler.add_job(PROCESS_WEEKLY_SUMMARY, trigger, id="weekly", jobstore="weekly", next_run_time=NOON)
    ten_years_on = NOON.replace(year=2036) + timedelta(minutes=30)
    (job,) = store.get_due_jobs(ten_years_on)
    assert job.next_run_time == ten_years_on - timedelta(days=1) + timedelta(minutes=30)
    job._modify(next_run_time=ten_years_on + timedelta(minutes=30))
    store.update_job(job)
    assert (store.get_due_jobs(ten_years_on), len(store.get_all_jobs())) == ([], 1)
    scheduler.shutdown()


def test_a_time_that_is_none_wakes_nobody(batches: JobStore, database: Database) -> None:
    table = "apscheduler_jobs_batched_notifications"
    put(database, JobRow("x", NOON, pickled(id="x")), table=table)
    with database.write() as c:
        c.execute(database.sql(f"UPDATE {table} SET next_run_time = ? WHERE id = ?"), (float("inf"), "x"))
    assert batches.get_next_run_time() is None


def test_a_plain_apscheduler_reads_what_is_stored(store: JobStore, settings: Settings, tmp_path: Path) -> None:
    scheduler = running(("execution", store))
    trigger = IntervalTrigger(seconds=60, timezone=UTC, start_date=NOON)
    scheduler.add_job(REPORT_LATE_EXECUTIONS, trigger, id="late", jobstore="execution", next_run_time=LATER)
    scheduler.shutdown()
    url = settings.database_url
    url = (
        url.replace("file:", "sqlite:///")
        if url.startswith("file:")
        else url.replace("postgresql:", "postgresql+psycopg:")
    )
    read = subprocess.run([sys.executable, "-c", PLAIN, url], capture_output=True, text=True, timeout=60, check=False)
    assert read.stdout == f"late {REPORT_LATE_EXECUTIONS} {LATER.isoformat()} interval[0:01:00]\n", read.stderr


def test_writes_take_turns_with_everybody_elses(sqlite_settings: Settings) -> None:
    store = make_store(sqlite_settings, Jobstores.EXECUTION)
    path = sqlite_settings.data_dir / "database.db.lock"
    held, added = FileLock(path), threading.Event()
    scheduler = running(("execution", store))
    trigger = IntervalTrigger(seconds=60, timezone=UTC, start_date=NOON)

    def add() -> None:
        scheduler.add_job(REPORT_LATE_EXECUTIONS, trigger, id="late", jobstore="execution", next_run_time=LATER)
        added.set()

    with held.hold(5):
        thread = threading.Thread(target=add)
        thread.start()
        assert not added.wait(0.3)
    assert added.wait(10)
    thread.join()
    scheduler.shutdown()


def test_a_store_has_so_many_connections_and_no_more(settings: Settings) -> None:
    more = settings.model_copy(update={"scheduler_db_pool_size": 2})
    store = make_store(more, Jobstores.EXECUTION)
    pool: Any = store.engine.pool
    assert (pool.size(), pool._max_overflow) == (2, 0)
    first, second = store.engine.connect(), store.engine.connect()
    pool._timeout = 0.01
    with pytest.raises(Exception, match="QueuePool limit"):
        store.engine.connect()
    first.close(), second.close()
    store.shutdown()


def test_several_schemas_of_one_database_stand_beside_each_other(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with postgres_server.database() as url:
        stores: list[JobStore] = []
        for schema in ("one", "Two words"):
            with psycopg.connect(url, autocommit=True) as c:
                c.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            own = make_settings(tmp_path, f"{url}?schema={schema}")
            migrate(own)
            direct = make_settings(tmp_path, "file:elsewhere.db", direct_url=f"{url}?schema={schema}")
            stores.append(make_store(direct, Jobstores.EXECUTION))
        scheduler = running(("a", stores[0]), ("b", stores[1]))
        trigger = IntervalTrigger(seconds=60, timezone=UTC, start_date=NOON)
        scheduler.add_job(REPORT_LATE_EXECUTIONS, trigger, id="late", jobstore="a", next_run_time=LATER)
        assert [job.id for job in stores[0].get_all_jobs()] == ["late"]
        assert stores[1].get_all_jobs() == []
        scheduler.shutdown()
        for schema, expected in (("one", ["late"]), ("Two words", [])):
            database = Database.from_settings(make_settings(tmp_path, f"{url}?schema={schema}"))
            assert ids(database) == expected
            database.close()
