"""Schedules and job rows are kept in step, whatever others did to the rows."""

from __future__ import annotations

import pickle
import threading
from datetime import UTC, datetime

import pytest
from apscheduler.triggers.cron import CronTrigger

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import JobRow, put_jobs, remove_jobs
from autogpt_server.data.schedules import Schedules
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.adopting import warning_of
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.parked import find_parked
from autogpt_server.scheduler.reconcile import Reconciled, Reconciler
from autogpt_server.scheduler.scheduling import Scheduling
from autogpt_server.scheduler.unpickling import load_job_state
from tests.data.schedule_rows import make_schedule, stored_graph
from tests.scheduler.job_pickles import ARGUMENTS, NOON, Elsewhere, state, stored_elsewhere


def put(database: Database, *jobs: Elsewhere) -> None:
    with database.write() as c:
        states = stored_elsewhere(*jobs)
        rows = [
            JobRow(job.id, None if job.next_run_time is None else datetime.fromtimestamp(job.next_run_time, UTC), row)
            for job, row in zip(jobs, states, strict=True)
        ]
        put_jobs(database, c, rows)


def put_state(database: Database, job_id: str, data: bytes, at: datetime | None = NOON) -> None:
    with database.write() as c:
        put_jobs(database, c, [JobRow(job_id, at, data)])


def reconcile(database: Database, told: list[list[str]] | None = None) -> Reconciled:
    return Reconciler(database, (told if told is not None else []).append).run()


def find(database: Database, schedule_id: str) -> Schedule:
    found = Schedules(database, lambda ids: None).find(schedule_id)
    assert found is not None
    return found


def row_ids(database: Database) -> list[str]:
    with database.read() as c:
        return c.execute("SELECT id FROM apscheduler_jobs ORDER BY id").scalars()


def test_jobs_of_another_deployment_become_schedules_that_fire_as_they_did(database: Database) -> None:
    put(
        database,
        Elsewhere("cron"),
        Elsewhere("every", "IntervalTrigger(seconds=90, timezone='UTC')"),
        Elsewhere("once", "DateTrigger(datetime(2027, 1, 1, tzinfo=timezone.utc))"),
        Elsewhere("paused", next_run_time=None),
    )
    told: list[list[str]] = []
    done = reconcile(database, told)
    assert sorted(done.adopted) == ["cron", "every", "once", "paused"]
    assert told == [done.adopted]
    cron = find(database, "cron")
    assert (cron.user_id, cron.graph_id, cron.graph_version, cron.name) == ("u", "g", 2, "mine")
    assert (cron.cron, cron.timezone, cron.next_run_at, cron.is_adopted) == ("0 9 * * 1", "Europe/Berlin", NOON, True)
    assert (cron.inputs, cron.credentials) == (ARGUMENTS["input_data"], ARGUMENTS["input_credentials"])
    warning = warning_of(cron)
    assert warning is not None and "0 for Monday" in warning
    assert find(database, "every").interval_seconds == 90
    assert find(database, "once").run_at == datetime(2027, 1, 1, tzinfo=UTC)
    paused = find(database, "paused")
    assert (paused.is_enabled, paused.next_run_at) == (False, None)
    assert paused.paused_reason is not None and "taken over" in paused.paused_reason
    # Its 1 is Tuesday, as it was there.
    with database.read() as c:
        data = c.execute("SELECT job_state FROM apscheduler_jobs WHERE id = 'cron'").scalar_one()
    trigger = load_job_state(bytes(data))["trigger"]
    assert trigger.get_next_fire_time(None, NOON) == datetime(2026, 1, 6, 8, tzinfo=UTC)
    assert reconcile(database, told).adopted == []


def test_an_edit_moves_a_schedule_that_was_taken_over_to_unix_cron(database: Database) -> None:
    kwargs = ARGUMENTS | {"user_id": DEFAULT_USER_ID, "graph_id": stored_graph(database), "graph_version": 1}
    put(database, Elsewhere("cron", kwargs=kwargs | {"input_data": {}, "input_credentials": {}}))
    reconcile(database)
    scheduling = Scheduling(database, lambda ids: None)
    edited = scheduling.edit(DEFAULT_USER_ID, "cron", {"cron": "0 9 * * 1", "timezone": "UTC"})
    assert (edited.is_adopted, warning_of(edited)) == (False, None)
    assert edited.next_run_at is not None and edited.next_run_at.isoweekday() == 1


def test_what_was_deleted_here_stays_deleted_whoever_writes_its_row_again(database: Database) -> None:
    put(database, Elsewhere("cron"))
    reconcile(database)
    Scheduling(database, lambda ids: None).delete("u", "cron")
    assert row_ids(database) == []
    put(database, Elsewhere("cron"))
    done = reconcile(database)
    assert (done.adopted, done.removed) == ([], 1)
    assert row_ids(database) == []
    assert Schedules(database, lambda ids: None).find("cron") is None


def test_a_schedule_whose_row_somebody_removed_gets_one_again(database: Database) -> None:
    schedules = Schedules(database, lambda ids: None)
    enabled, paused = make_schedule("g"), make_schedule("g", is_enabled=False, next_run_at=None)
    for one in (enabled, paused):
        schedules.create(one, job_row(one))
    put(database, Elsewhere("cron"))
    reconcile(database)
    with database.write() as c:
        remove_jobs(database, c, [enabled.id, paused.id, "cron"])
    done = reconcile(database)
    assert done.made == 2
    assert row_ids(database) == sorted([enabled.id, "cron"])
    with database.read() as c:
        data = c.execute("SELECT job_state FROM apscheduler_jobs WHERE id = 'cron'").scalar_one()
    trigger = load_job_state(bytes(data))["trigger"]
    # Still by the numbering of where it came from.
    assert trigger.get_next_fire_time(None, NOON) == datetime(2026, 1, 6, 8, tzinfo=UTC)
    assert reconcile(database).made == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"nonsense", "its pickle cannot be read"),
        (pickle.dumps(state(id="x", func="backend.executor.scheduler:run_graph")), "it may have been renamed"),
        (pickle.dumps(state(id="other")), "its pickle is that of job 'other'"),
        (pickle.dumps(state(id="x", kwargs={"user_id": "u"})), "do not say what is executed: graph_id"),
        (pickle.dumps(state(id="x", kwargs=ARGUMENTS | {"graph_version": 2**40})), "version"),
        (pickle.dumps(state(id="x", kwargs=ARGUMENTS | {"input_data": {"a": "\0"}})), "its inputs cannot be stored"),
        (pickle.dumps(state(id="x", name="\ud800")), "its name cannot be stored"),
        (
            pickle.dumps(state(id="x", func="autogpt_server.scheduler.jobs:cleanup_expired_files")),
            "it is a job of cleanup_expired_files",
        ),
    ],
)
def test_a_row_that_cannot_be_taken_over_is_parked_and_keeps_nobody_else_from_it(
    database: Database, data: bytes, reason: str
) -> None:
    put(database, Elsewhere("good"))
    put_state(database, "x", data)
    for _ in range(2):
        done = reconcile(database)
        (parked,) = done.parked
        assert (parked.table, parked.id) == ("apscheduler_jobs", "x")
        assert reason in parked.reason
    assert row_ids(database) == ["good", "x"]
    assert find(database, "good").is_adopted
    assert find_parked(database) == [parked]


def test_thousands_of_rows_are_taken_over_page_by_page(database: Database) -> None:
    trigger = CronTrigger.from_crontab("0 9 * * *", timezone=UTC)
    rows = [JobRow(f"j{i:05}", NOON, pickle.dumps(state(id=f"j{i:05}", trigger=trigger))) for i in range(1203)]
    with database.write() as c:
        put_jobs(database, c, rows)
    done = reconcile(database)
    assert sorted(done.adopted) == [row.id for row in rows]


def test_our_own_rows_without_a_schedule_are_read_as_unix_cron(database: Database) -> None:
    schedule = make_schedule("g", cron="0 9 * * 1", timezone="Asia/Kathmandu")
    row = job_row(schedule)
    assert row is not None
    put_state(database, schedule.id, row.state)
    assert reconcile(database).adopted == [schedule.id]
    found = find(database, schedule.id)
    assert (found.cron, found.timezone, found.is_adopted) == ("0 9 * * 1", "Asia/Kathmandu", False)


def test_a_time_that_is_none_is_that_of_a_paused_schedule(database: Database) -> None:
    put(database, Elsewhere("cron"))
    with database.write() as c:
        c.execute(database.sql("UPDATE apscheduler_jobs SET next_run_time = ?"), (float("inf"),))
    reconcile(database)
    assert find(database, "cron").next_run_at is None


def test_several_schedulers_take_over_once(database: Database) -> None:
    put(database, Elsewhere("cron"))
    first, second = Reconciler(database, lambda ids: None), Reconciler(database, lambda ids: None)
    assert [first.run().adopted, second.run().adopted] == [["cron"], []]


def test_a_thread_does_it_at_the_start(database: Database) -> None:
    put(database, Elsewhere("cron"))
    heard = threading.Event()
    reconciler = Reconciler(database, lambda ids: heard.set())
    reconciler.start()
    assert heard.wait(20)
    reconciler.stop()
