"""The server's own tasks: which they are, and that of several schedulers one runs each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.exc import OperationalError

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import EXECUTION_JOBS, JobRow, put_jobs, read_jobs
from autogpt_server.data.slots import Slots
from autogpt_server.model import clock
from autogpt_server.model.schedule import Slot, SlotOutcome
from autogpt_server.scheduler import jobs
from autogpt_server.scheduler.known_functions import CLEANUP_EXPIRED_FILES, REPORT_LATE_EXECUTIONS
from autogpt_server.scheduler.listening import listen
from autogpt_server.scheduler.parked import find_parked, remove_parked
from autogpt_server.scheduler.stores import JobStore, Jobstores, make_store
from autogpt_server.scheduler.system_tasks import STORED_IDS, mend, register, system_tasks
from autogpt_server.scheduler.task_executor import slot_owner
from autogpt_server.scheduler.task_scheduler import TaskScheduler
from autogpt_server.scheduler.triggers import UnixCronTrigger
from autogpt_server.service.pulse import Pulse
from autogpt_server.settings import Settings
from tests.scheduler.job_pickles import Elsewhere, stored_elsewhere

_LIMIT = 20.0
#: Tasks that are there whatever the settings say.
_ALWAYS = tuple(id_ for id_ in STORED_IDS if id_ != "prune_history")


class Running:
    """A scheduler in a thread of its own, on stores of its own."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self.store = make_store(settings, Jobstores.EXECUTION, STORED_IDS)
        self.pulse = Pulse(lambda seconds: None, 30)
        self.scheduler = TaskScheduler(
            {Jobstores.EXECUTION: self.store, Jobstores.WEEKLY_NOTIFICATIONS: MemoryJobStore()},
            Slots(database),
            self.stopping,
            self.pulse.part(),
            0.05,
        )
        listen(self.scheduler)
        self.thread = threading.Thread(target=self.scheduler.start)

    def __enter__(self) -> Running:
        self.thread.start()
        until(lambda: self.scheduler.running)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(_LIMIT)
        assert not self.thread.is_alive()
        self.scheduler.shutdown(wait=True)


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


@pytest.fixture
def runs() -> Iterator[list[int]]:
    """What was run of ``report_late_executions``."""
    runs: list[int] = []

    def task() -> str:
        runs.append(threading.get_ident())
        return "all well"

    jobs.bind("report_late_executions", task)
    yield runs
    jobs.bind("report_late_executions", None)


def ledger(database: Database) -> list[Slot]:
    slots = Slots(database)
    ids = (*STORED_IDS, "process_weekly_summary", "once")
    return [slot for id_ in ids for slot in slots.list(slot_owner(id_), limit=100).items]


def store_row(database: Database, job_id: str, at: datetime, trigger: str, function: str) -> None:
    with database.write() as c:
        row = stored_elsewhere(Elsewhere(job_id, trigger, function, kwargs={}, next_run_time=at.timestamp()))[0]
        put_jobs(database, c, [JobRow(job_id, at, row)])


def due_task(database: Database) -> datetime:
    """Let ``report_late_executions`` be due as of the last second."""
    at = clock.now().replace(microsecond=0)
    store_row(database, "report_late_executions", at, "IntervalTrigger(seconds=300)", "report_late_executions")
    return at


def test_the_tasks_are_those_that_were_agreed_on(settings: Settings) -> None:
    found = {task.id: task for task in system_tasks(settings)}
    assert {id_: (task.store.value, task.function) for id_, task in found.items()} == {
        "process_weekly_summary": ("weekly_notifications", "autogpt_server.scheduler.jobs:process_weekly_summary"),
        "report_late_executions": ("execution", "autogpt_server.scheduler.jobs:report_late_executions"),
        "report_block_error_rates": ("execution", "autogpt_server.scheduler.jobs:report_block_error_rates"),
        "cleanup_expired_files": ("execution", "autogpt_server.scheduler.jobs:cleanup_expired_files"),
    }
    weekly = found["process_weekly_summary"].trigger
    assert isinstance(weekly, UnixCronTrigger)
    assert (weekly.expression.text, weekly.timezone.key) == ("0 * * * *", "UTC")
    intervals = {id_: task.trigger.interval for id_, task in found.items() if isinstance(task.trigger, IntervalTrigger)}
    assert intervals == {
        "report_late_executions": timedelta(seconds=settings.execution_late_notification_threshold_secs),
        "report_block_error_rates": timedelta(seconds=settings.block_error_rate_check_interval_secs),
        "cleanup_expired_files": timedelta(hours=settings.cloud_storage_cleanup_interval_hours),
    }
    keeping = settings.model_copy(update={"retention_slots_days": 30})
    stored = [task for task in system_tasks(keeping) if task.store is Jobstores.EXECUTION]
    # What is older than it is to be kept is deleted only where something is not to be kept for ever.
    assert set(STORED_IDS) == {task.id for task in stored} == {"prune_history", *found} - {"process_weekly_summary"}


def test_settings_say_how_often(settings: Settings) -> None:
    changed = settings.model_copy(
        update={
            "execution_late_notification_threshold_secs": 7,
            "block_error_rate_check_interval_secs": 8,
            "cloud_storage_cleanup_interval_hours": 9,
        }
    )
    seconds = [str(task.trigger) for task in system_tasks(changed)][1:]
    assert seconds == ["interval[0:00:07]", "interval[0:00:08]", "interval[9:00:00]"]


def test_rows_of_another_deployment_are_taken_over_with_their_times(settings: Settings, database: Database) -> None:
    soon = clock.now().replace(microsecond=0) + timedelta(hours=1)
    every = settings.cloud_storage_cleanup_interval_hours * 3600
    store_row(database, "cleanup_expired_files", soon, f"IntervalTrigger(seconds={every})", "cleanup_expired_files")
    store_row(database, "report_late_executions", soon, "IntervalTrigger(seconds=1)", "report_late_executions")
    running = Running(settings, database)
    register(running.scheduler, settings, running.store)
    with running:
        files, late = running.store.lookup_job("cleanup_expired_files"), running.store.lookup_job(STORED_IDS[0])
        assert files is not None and late is not None
        assert (files.func_ref, files.next_run_time) == (CLEANUP_EXPIRED_FILES, soon)
        # That one runs otherwise than the settings say.
        assert late.next_run_time is not None
        assert late.next_run_time < soon
        assert str(late.trigger) == "interval[0:05:00]"
        assert len(running.store.get_all_jobs()) == 3


def test_registering_again_neither_doubles_nor_postpones(settings: Settings, database: Database) -> None:
    def times() -> list[datetime | None]:
        running = Running(settings, database)
        register(running.scheduler, settings, running.store)
        with running:
            return [job.next_run_time for job in running.store.get_all_jobs()]

    first = times()
    assert len(first) == 3
    assert times() == first


def test_a_database_that_goes_away_in_the_middle_of_the_start_is_waited_for(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autogpt_server.scheduler.task_scheduler._RETRY_SECONDS", 0.01)
    add_job, calls = JobStore.add_job, list[Job]()

    def add(self: JobStore, job: Job) -> None:
        calls.append(job)
        if len(calls) == 2:
            raise OperationalError("INSERT", {}, Exception("the database is gone"))
        add_job(self, job)

    monkeypatch.setattr(JobStore, "add_job", add)
    running = Running(settings, database)
    register(running.scheduler, settings, running.store)
    with running, database.read() as c:
        assert read_jobs(database, c, STORED_IDS).keys() == set(_ALWAYS)
    assert len(calls) == len(_ALWAYS) + 2


def test_a_row_that_was_tampered_with_stays_until_somebody_deletes_it(settings: Settings, database: Database) -> None:
    job_id, garbage = "report_late_executions", b"tampered with"
    with database.write() as c:
        put_jobs(database, c, [JobRow(job_id, clock.now(), garbage)])
    running = Running(settings, database)
    register(running.scheduler, settings, running.store)
    with running:
        mend(running.scheduler, settings, running.store)
        assert {job.id for job in running.store.get_all_jobs()} == {*_ALWAYS} - {job_id}
        with database.read() as c:
            assert read_jobs(database, c, [job_id]) == {job_id: garbage}
        assert [one.id for one in find_parked(database)] == [job_id]
        remove_parked(database, EXECUTION_JOBS, job_id)
        mend(running.scheduler, settings, running.store)
        assert {job.id for job in running.store.get_all_jobs()} == {*_ALWAYS}
        soonest = min(job.next_run_time for job in running.store.get_all_jobs())
        assert running.store.get_next_run_time() == soonest
    assert find_parked(database) == []


def test_a_task_that_ran_while_the_clock_was_years_ahead_goes_on_from_now(
    settings: Settings, database: Database
) -> None:
    running = Running(settings, database)
    register(running.scheduler, settings, running.store)
    with running:
        for id_, store in (("cleanup_expired_files", "execution"), ("process_weekly_summary", "weekly_notifications")):
            before = running.scheduler.get_job(id_, store).next_run_time
            running.scheduler.modify_job(id_, store, next_run_time=before + timedelta(days=3650))
            mend(running.scheduler, settings, running.store)
            again = running.scheduler.get_job(id_, store).next_run_time
            assert abs(again - before) <= timedelta(minutes=1)
            # What is right stays as it is.
            mend(running.scheduler, settings, running.store)
            assert running.scheduler.get_job(id_, store).next_run_time == again


def test_of_several_schedulers_one_runs_a_task(settings: Settings, database: Database, runs: list[int]) -> None:
    at = due_task(database)
    with Running(settings, database), Running(settings, database), Running(settings, database):
        until(lambda: runs)
        until(lambda: ledger(database))
    assert len(runs) == 1
    (slot,) = ledger(database)
    assert (slot.schedule_id, slot.scheduled_at) == ("system:report_late_executions", at)
    assert (slot.outcome, slot.reason) == (SlotOutcome.FIRED, None)


def test_a_task_that_nothing_is_bound_to_is_told_in_the_ledger(settings: Settings, database: Database) -> None:
    due_task(database)
    with Running(settings, database):
        until(lambda: [slot for slot in ledger(database) if slot.outcome is SlotOutcome.SKIPPED])
    assert [slot.reason for slot in ledger(database)] == ["not configured"]


def test_a_task_that_fails_is_told_and_runs_again(
    settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def task() -> str:
        raise OSError("no disk")

    jobs.bind("report_late_executions", task)
    try:
        due_task(database)
        with Running(settings, database) as running:
            until(lambda: [slot for slot in ledger(database) if slot.outcome is SlotOutcome.FAILED])
            until(
                lambda: (
                    (job := running.store.lookup_job("report_late_executions"))
                    and job.next_run_time
                    and job.next_run_time > clock.now()
                )
            )
    finally:
        jobs.bind("report_late_executions", None)
    assert [slot.reason for slot in ledger(database)] == ["OSError: no disk"]
    assert any("job report_late_executions failed: OSError: no disk" in one.getMessage() for one in caplog.records)


def test_a_slot_that_somebody_has_claimed_is_not_run(settings: Settings, database: Database, runs: list[int]) -> None:
    at = due_task(database)
    owner = slot_owner("report_late_executions")
    Slots(database).claim(Slot(schedule_id=owner, scheduled_at=at, outcome=SlotOutcome.FIRED, fired_at=at))
    with Running(settings, database) as running:
        until(lambda: (job := running.store.lookup_job("report_late_executions")) and job.next_run_time != at)
    assert runs == []


def test_a_job_that_another_scheduler_removes_meanwhile_ends_nothing(
    settings: Settings, database: Database, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Running(settings, database) as running:
        trigger = DateTrigger(clock.now(), timezone=UTC)
        removed = threading.Event()
        before = running.store.get_due_jobs

        def removing(now: datetime) -> list[Any]:
            found = before(now)
            if found and not removed.is_set():
                running.store.remove_job(found[0].id)
                removed.set()
            return found

        monkeypatch.setattr(running.store, "get_due_jobs", removing)
        running.scheduler.add_job(
            REPORT_LATE_EXECUTIONS, trigger, id=STORED_IDS[0], jobstore="execution", next_run_time=clock.now()
        )
        until(lambda: runs)
        assert removed.is_set()

        def runs_again() -> bool:
            # The pass that was disturbed may still remove what has the id of that job.
            if running.store.lookup_job(STORED_IDS[0]) is None:
                due_task(database)
                running.scheduler.wakeup()
            return len(runs) >= 2

        until(runs_again)


def test_a_stop_leaves_a_task_that_runs(settings: Settings, database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def task() -> None:
        begun.set()
        go_on.wait(_LIMIT)

    jobs.bind("report_late_executions", task)  # type: ignore[arg-type]
    try:
        due_task(database)
        running = Running(settings, database)
        running.__enter__()
        assert begun.wait(_LIMIT)
        started = time.monotonic()
        running.stopping.set()
        running.thread.join(_LIMIT)
        running.scheduler.shutdown(wait=False)
        assert time.monotonic() - started < 5
        assert not go_on.is_set()
    finally:
        go_on.set()
        jobs.bind("report_late_executions", None)
