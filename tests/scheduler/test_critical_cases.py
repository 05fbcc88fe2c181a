"""What a scheduler must never get wrong, on the real process and both databases: persistence, isolation, concurrent
use, recovery and clean-up."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from make_settings import make_settings

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import put_jobs
from autogpt_server.data.migrations import migrate
from autogpt_server.data.schedules import Schedules, insert_schedules
from autogpt_server.events.nudge import Topic, send_nudge
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.schedule import MisfirePolicy, Schedule
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.settings import Settings
from tests.data.schedule_rows import make_schedule, stored_graph
from tests.postgres_server import PostgresServer, find_binaries
from tests.scheduler.scheduler_process import Service, error_of, until, wanted

SECOND = timedelta(seconds=1)


@pytest.fixture
def graph_id(database: Database) -> str:
    return stored_graph(database)


def every_second(settings: Settings, database: Database, graph_id: str) -> Schedule:
    """Store a schedule that makes up for everything, and tell who fires."""
    now = clock.from_ms(clock.now_ms() // 1000 * 1000)
    schedule = make_schedule(
        graph_id, cron="", interval_seconds=1, starts_at=now, created_at=now, next_run_at=now + SECOND,
        misfire_policy=MisfirePolicy.ALL, misfire_limit=1000,
    )  # fmt: skip
    Schedules(database, lambda ids: send_nudge(settings.run_dir, Topic.SCHEDULES, ids)).create(
        schedule, job_row(schedule)
    )
    return schedule


def slots(database: Database, schedule: Schedule) -> int:
    """Count the slots of a schedule, which follow each other without a gap and have an execution each."""
    with database.read() as c:
        text = 'SELECT "scheduledAt","graphExecutionId" FROM "AgentScheduleSlot" WHERE "scheduleId" = ?'
        rows = c.execute(database.sql(text), (schedule.id,)).all()
        text = 'SELECT COUNT(*) FROM "AgentGraphExecution" WHERE "scheduleId" = ?'
        accepted = c.execute(database.sql(text), (schedule.id,)).scalar_one()
    times = sorted(database.from_column(row[0]) for row in rows)
    assert schedule.next_run_at is not None
    assert times == [schedule.next_run_at + i * SECOND for i in range(len(times))]
    # More may have been accepted since.
    assert len({row[1] for row in rows}) == len(rows) <= accepted
    return len(times)


def test_persistence_a_restart_loses_neither_schedules_nor_slots(
    settings: Settings, database: Database, graph_id: str
) -> None:
    with Service(settings) as service:
        id_ = service.add(graph_id)["id"]
        schedule = every_second(settings, database, graph_id)
        until(lambda: slots(database, schedule) >= 1)
        service.process.child.kill()
    before = slots(database, schedule)
    # As long as it takes until somebody starts it again.
    until(lambda: clock.now() > schedule.created_at + (before + 2) * SECOND)
    with Service(settings) as service:
        until(lambda: slots(database, schedule) >= before + 2)
        listed = service.post("get_graph_execution_schedules").json()
    assert {one["id"] for one in listed} == {id_, schedule.id}


def test_isolation_a_user_deletes_nothing_of_another(service: Service, rows: Database) -> None:
    id_ = service.add(stored_graph(rows))["id"]
    answer = service.post("delete_graph_execution_schedule", schedule_id=id_, user_id="somebody else")
    assert error_of(answer) == (400, "NotAuthorizedError")
    assert [one["id"] for one in service.post("get_graph_execution_schedules").json()] == [id_]
    assert service.post("get_graph_execution_schedules", user_id="somebody else").json() == []


def test_concurrent_access_many_clients_add_and_delete_at_once(service: Service, rows: Database) -> None:
    graph_id = stored_graph(rows)
    kept: list[str] = []
    errors: list[object] = []

    def use(url: httpx.URL) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            for i in range(10):
                added = client.post("/add_graph_execution_schedule", json=wanted(graph_id))
                if added.status_code != 200:
                    errors.append(added.text)
                elif i % 2:
                    kept.append(added.json()["id"])
                else:
                    body = {"schedule_id": added.json()["id"], "user_id": DEFAULT_USER_ID}
                    gone = client.post("/delete_graph_execution_schedule", json=body)
                    if gone.status_code != 200:
                        errors.append(gone.text)

    threads = [threading.Thread(target=use, args=(service.http.base_url,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    listed = [one["id"] for one in service.post("get_graph_execution_schedules").json()]
    assert errors == []
    assert sorted(listed) == sorted(kept)
    assert len(kept) == 40
    with rows.read() as c:
        jobs = set(c.execute("SELECT id FROM apscheduler_jobs").scalars())
    assert set(kept) <= jobs
    assert len(jobs - set(kept)) <= 3  # the tasks of the system


def test_recovery_postgresql_goes_away_and_comes_back(tmp_path: Path) -> None:
    binaries = find_binaries()
    if binaries is None:
        pytest.fail("there is no PostgreSQL")
    with PostgresServer(binaries, synchronous_commit="on") as server, server.database() as url:
        settings = make_settings(tmp_path, url)
        migrate(settings)
        database = Database.from_settings(settings)
        graph_id = stored_graph(database)
        with Service(settings) as service:
            schedule = every_second(settings, database, graph_id)
            until(lambda: slots(database, schedule) >= 1)
            server.crash()
            # Red: it can be of no use now.
            until(lambda: service.http.get("/health_check").status_code != 200)
            down = clock.now()
            until(lambda: clock.now() > down + 1.2 * SECOND)
            server.start_again()
            until(lambda: service.http.get("/health_check").status_code == 200)
            missed = (clock.now() - schedule.created_at) // SECOND
            until(lambda: slots(database, schedule) >= missed)
            # Edits are heard again, too.
            assert service.add(graph_id)["id"]
        database.close()


def test_recovery_sqlite_is_locked_by_somebody_else_for_a_while(tmp_path: Path, sqlite_url: str) -> None:
    settings = make_settings(tmp_path, sqlite_url)
    database = Database.from_settings(settings)
    graph_id = stored_graph(database)
    with Service(settings):
        schedule = every_second(settings, database, graph_id)
        until(lambda: slots(database, schedule) >= 1)
        holder = sqlite3.connect(database.url.path or "", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        locked = clock.now()
        until(lambda: clock.now() > locked + 2 * SECOND)
        holder.execute("ROLLBACK")
        holder.close()
        missed = (clock.now() - schedule.created_at) // SECOND
        until(lambda: slots(database, schedule) >= missed)
    database.close()


def fire(settings: Settings, database: Database, graph_id: str, count: int) -> None:
    """Let so many schedules fire once, and wait until they are moved on."""
    due = clock.from_ms(clock.now_ms())
    made = [make_schedule(graph_id, cron="", run_at=due, next_run_at=due) for _ in range(count)]
    with database.write() as c:
        insert_schedules(database, c, made)
        put_jobs(database, c, [row for one in made if (row := job_row(one)) is not None])
    send_nudge(settings.run_dir, Topic.SCHEDULES)

    def is_done() -> bool:
        with database.read() as c:
            text = 'SELECT COUNT(*) FROM "AgentExecutionSchedule" WHERE "nextRunAt" IS NOT NULL'
            return c.execute(text).scalar_one() == 0

    until(is_done, 90)


@pytest.mark.timeout(180)
def test_resource_cleanup_ten_thousand_firings_leave_neither_memory_nor_connections(
    settings: Settings, database: Database, graph_id: str
) -> None:
    with Service(settings, register_system_tasks=False) as service:
        process = psutil.Process(service.process.child.pid)
        fire(settings, database, graph_id, 2_500)
        files, memory, threads = process.num_fds(), process.memory_info().rss, process.num_threads()
        for _ in range(4):
            fire(settings, database, graph_id, 2_500)
        # A pool may open the rest of its connections only now; twenty batches would leave more.
        assert process.num_fds() <= files + 12
        assert process.num_threads() <= threads + 1
        assert process.memory_info().rss - memory < 12_000_000
    with database.read() as c:
        assert c.execute('SELECT COUNT(*) FROM "AgentGraphExecution"').scalar_one() == 12_500
