"""A slot leads to one execution, whoever fires it and however often, and its rules are kept."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from autogpt_server.data import firing as firing_module
from autogpt_server.data.database import Database
from autogpt_server.data.firing import Fired, Firing
from autogpt_server.data.schedules import Schedules
from autogpt_server.data.slots import Slots
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.schedule import OverlapPolicy, Schedule
from autogpt_server.scheduler.scheduling import Scheduling
from tests.data.schedule_rows import NOON, executions, job_of, ledger, make_schedule, plan_for, store, stored_graph

HOUR = timedelta(hours=1)


@pytest.fixture
def firing(database: Database) -> Firing:
    return Firing(database)


@pytest.fixture
def graph_id(database: Database) -> str:
    return stored_graph(database)


def read(database: Database, schedule: Schedule) -> Schedule:
    found = Schedules(database, lambda ids: None).find(schedule.id)
    assert found is not None
    return found


def finish(database: Database, status: str) -> None:
    with database.write() as c:
        c.execute(database.sql('UPDATE "AgentGraphExecution" SET "status" = ? WHERE "status" = \'QUEUED\''), (status,))


def fire(database: Database, schedule: Schedule, *more: int) -> Fired:
    """Fire the next slot of a stored schedule, and some so many hours later, and move it on by a day."""
    now = read(database, schedule)
    assert now.next_run_at is not None
    plan = plan_for(now, *(now.next_run_at + i * HOUR for i in more), next_run_at=now.next_run_at + timedelta(days=1))
    fired = Firing(database).fire([plan])
    Firing(database).advance(fired.done, {schedule.id: job_of(now)})
    return fired


def test_a_slot_is_fired_once_however_often_it_is_tried(database: Database, firing: Firing, graph_id: str) -> None:
    schedule = make_schedule(graph_id)
    store(database, schedule)
    first, again = firing.fire([plan_for(schedule)]), firing.fire([plan_for(schedule)])
    assert (len(first.executions), len(first.done)) == (1, 1)
    # Done all the same: whoever fired it may have died before it said so.
    assert (len(again.executions), len(again.done)) == (0, 1)
    assert executions(database) == [(schedule.id, "QUEUED", "", 0)]
    assert ledger(database) == [("fired", None, True)]
    assert read(database, schedule).runs == 1


def test_a_plan_that_begins_with_what_is_written_is_left_to_be_planned_from_there_on(
    database: Database, firing: Firing, graph_id: str
) -> None:
    schedule, other = make_schedule(graph_id), make_schedule(graph_id)
    store(database, schedule, other)
    firing.fire([plan_for(schedule, NOON + HOUR)])
    plans = [plan_for(one, NOON + HOUR, NOON + 2 * HOUR) for one in (schedule, other)]
    fired = firing.fire(plans)
    assert fired.begun == [(plans[0], NOON + HOUR)]
    assert fired.done == plans[1:]
    assert len(fired.executions) == 3
    # A clock that was ahead may have decided about years.
    with database.write() as c:
        c.execute(
            database.sql('UPDATE "AgentScheduleSlot" SET "lastScheduledAt" = ? WHERE "scheduledAt" = ?'),
            (database.to_column(NOON + 10_000 * HOUR), database.to_column(NOON)),
        )
    assert firing.fire(plans[:1]).begun == [(plans[0], NOON + 2 * HOUR)]


def test_many_who_fire_at_once_fire_each_slot_once(database: Database, graph_id: str) -> None:
    schedules = [make_schedule(graph_id) for _ in range(40)]
    store(database, *schedules)
    fired: list[Fired] = []
    threads = [
        threading.Thread(target=lambda: fired.append(Firing(database).fire([plan_for(one) for one in schedules])))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(len(one.executions) for one in fired) == 40
    assert len(executions(database)) == 40


def test_advancing_moves_schedule_and_job_row_where_nobody_edited_them(
    database: Database, firing: Firing, graph_id: str
) -> None:
    schedule, edited = make_schedule(graph_id), make_schedule(graph_id)
    store(database, schedule, edited)
    later = NOON + timedelta(days=1)
    plans = [plan_for(one, next_run_at=later) for one in (schedule, edited)]
    fired = firing.fire(plans)
    Schedules(database, lambda ids: None).edit(edited.id, lambda s: s.model_copy(update={"name": "x"}), job_of)
    moved = {one.id: job_of(one.model_copy(update={"next_run_at": later})) for one in (schedule, edited)}
    firing.advance(fired.done, dict(moved))
    assert read(database, schedule).next_run_at == later
    assert read(database, edited).next_run_at == NOON
    with database.read() as c:
        times = dict(c.execute("SELECT id, next_run_time FROM apscheduler_jobs").all())
    assert times == {schedule.id: later.timestamp(), edited.id: NOON.timestamp()}


def test_a_schedule_that_was_changed_since_it_was_planned_is_not_fired(
    database: Database, firing: Firing, graph_id: str
) -> None:
    paused, deleted, moved = (make_schedule(graph_id) for _ in range(3))
    store(database, paused, deleted, moved)
    schedules = Schedules(database, lambda ids: None)
    schedules.edit(paused.id, lambda s: s.model_copy(update={"is_enabled": False, "next_run_at": None}), job_of)
    schedules.delete(deleted.id, lambda s: None)
    schedules.edit(moved.id, lambda s: s.model_copy(update={"next_run_at": NOON + HOUR}), job_of)
    fired = firing.fire([plan_for(one) for one in (paused, deleted, moved)])
    assert sorted(fired.changed) == sorted([paused.id, deleted.id, moved.id])
    assert (fired.done, executions(database), ledger(database)) == ([], [], [])


def test_a_schedule_whose_graph_is_gone_is_paused_with_that_reason(
    database: Database, firing: Firing, graph_id: str
) -> None:
    unknown, deleted = make_schedule("no-such-graph"), make_schedule(graph_id)
    store(database, unknown, deleted)
    with database.write() as c:
        c.execute('UPDATE "AgentGraph" SET "deletedAt" = "createdAt"')
    firing.fire([plan_for(unknown), plan_for(deleted)])
    assert executions(database) == []
    for one in (unknown, deleted):
        now = read(database, one)
        assert (now.is_enabled, now.next_run_at, now.revision) == (False, None, 1)
        assert now.paused_reason == f"graph {one.graph_id} is gone"
    assert {row[0] for row in ledger(database)} == {"failed"}


def test_a_graph_that_is_deleted_while_its_slot_fires_executes_that_and_no_more(
    database: Database, graph_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = make_schedule(graph_id)
    store(database, schedule)

    def delete() -> None:
        with database.write() as c:
            text = 'UPDATE "AgentGraph" SET "deletedAt" = ?, "isActive" = ? WHERE "id" = ?'
            c.execute(database.sql(text), (database.to_column(NOON), False, graph_id))

    deleting = threading.Thread(target=delete)

    def between(point: str) -> None:
        if point == "slots.written":
            deleting.start()
            # On SQLite it waits for its turn to write.
            deleting.join(None if database.provider == "postgresql" else 0.05)

    with monkeypatch.context() as patched:
        patched.setattr(firing_module, "crash_point", between)
        fire(database, schedule)
    deleting.join(20)
    assert [row[1] for row in executions(database)] == ["QUEUED"]
    assert read(database, schedule).is_enabled
    fired = fire(database, schedule)
    now = read(database, schedule)
    assert (now.is_enabled, now.next_run_at, now.paused_reason) == (False, None, f"graph {graph_id} is gone")
    # It is to be read again by whoever keeps it in memory.
    assert (fired.changed, fired.done, len(executions(database))) == ([schedule.id], [], 1)
    assert ledger(database) == [("fired", None, True), ("failed", f"graph {graph_id} is gone", False)]
    with database.read() as c:
        assert c.execute("SELECT next_run_time FROM apscheduler_jobs").scalars() == [None]


def test_inputs_that_were_checked_against_another_version_are_left_to_be_checked(
    database: Database, firing: Firing, graph_id: str
) -> None:
    schedule = make_schedule(graph_id, graph_version=None)
    store(database, schedule)
    plan = plan_for(schedule)
    plan.checked_version = 7
    fired = firing.fire([plan])
    assert fired.unchecked == [(plan, 1)]
    assert executions(database) == []


def test_a_schedule_that_skips_runs_one_execution_at_a_time(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id, overlap_policy=OverlapPolicy.SKIP)
    store(database, schedule)
    fire(database, schedule, 1)
    fire(database, schedule)
    finish(database, "COMPLETED")
    fire(database, schedule)
    assert [row[1] for row in executions(database)] == ["COMPLETED", "QUEUED"]
    reason = "an execution of it has not ended"
    assert ledger(database) == [
        ("fired", None, True), ("skipped", reason, False), ("skipped", reason, False), ("fired", None, True)
    ]  # fmt: skip


def test_runs_that_somebody_started_hide_none_of_a_slot_and_are_seen_themselves(
    database: Database, firing: Firing, graph_id: str
) -> None:
    schedule = make_schedule(graph_id, overlap_policy=OverlapPolicy.SKIP)
    store(database, schedule)
    target = firing.target(schedule)
    for _ in range(101):
        firing.run_now(schedule, target, "{}")
    finish(database, "COMPLETED")
    fire(database, schedule)
    fire(database, schedule)
    finish(database, "COMPLETED")
    firing.run_now(schedule, target, "{}")
    fire(database, schedule)
    assert [row[0] for row in ledger(database)] == ["fired", "skipped", "skipped"]


def test_a_schedule_that_buffers_one_has_one_waiting_at_most(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id, overlap_policy=OverlapPolicy.BUFFER_ONE)
    store(database, schedule)
    fire(database, schedule)
    finish(database, "RUNNING")
    fire(database, schedule)
    fire(database, schedule)
    lane = f"schedule:{schedule.id}"
    assert executions(database) == [(schedule.id, "RUNNING", lane, 1), (schedule.id, "QUEUED", lane, 1)]
    assert ledger(database)[-1] == ("skipped", "one of its executions waits already", False)


def test_a_schedule_that_cancels_stops_what_runs_and_what_waits(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id, overlap_policy=OverlapPolicy.CANCEL_RUNNING)
    store(database, schedule)
    fire(database, schedule)
    finish(database, "RUNNING")
    second = fire(database, schedule)
    third = fire(database, schedule, 1)
    assert (len(second.stopped), len(third.stopped)) == (1, 1)
    with database.read() as c:
        text = 'SELECT "status","stopRequestedAt" IS NOT NULL FROM "AgentGraphExecution" ORDER BY "scheduledAt"'
        rows = [(row[0], bool(row[1])) for row in c.execute(text)]
    assert rows == [("RUNNING", True), ("TERMINATED", True), ("QUEUED", False)]
    assert ("skipped", "a later one is due as well", False) in ledger(database)


def test_a_schedule_runs_as_often_as_it_may(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id, max_runs=2)
    store(database, schedule)
    fire(database, schedule)
    fire(database, schedule, 1, 2)
    assert len(executions(database)) == 2
    assert [row[0] for row in ledger(database)] == ["fired", "fired", "skipped", "skipped"]
    now = read(database, schedule)
    # It is over, and says nothing of the times that would have followed.
    assert (now.runs, now.next_run_at, now.is_enabled) == (2, None, True)


def test_a_schedule_is_paused_after_so_many_failures_in_a_row(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id, pause_after_failures=2)
    store(database, schedule)
    for status in ("FAILED", "COMPLETED", "FAILED", "FAILED"):
        fire(database, schedule)
        finish(database, status)
    fire(database, schedule)
    now = read(database, schedule)
    assert (now.is_enabled, now.paused_reason, now.paused_by) == (False, "its last 2 executions failed", "scheduler")
    assert ledger(database)[-1] == ("skipped", "its last 2 executions failed", False)
    assert len(executions(database)) == 4
    # Who resumes it wants to see it try again: failures are counted anew.
    resumed = Scheduling(database, lambda ids: None).resume(DEFAULT_USER_ID, schedule.id)
    assert resumed.next_run_at is not None
    for count in (5, 6):
        fire(database, schedule)
        assert len(executions(database)) == count
        finish(database, "FAILED")
    fire(database, schedule)
    assert (read(database, schedule).is_enabled, len(executions(database))) == (False, 6)


def test_the_ledger_is_read_in_pages_the_latest_first(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id)
    store(database, schedule)
    fire(database, schedule, 1, 2)
    slots = Slots(database)
    first = slots.list(schedule.id, limit=2)
    second = slots.list(schedule.id, limit=2, cursor=first.next_cursor)
    assert [slot.scheduled_at for slot in (*first.items, *second.items)] == [NOON + 2 * HOUR, NOON + HOUR, NOON]
    assert second.next_cursor is None
    assert slots.between(schedule.id, NOON, NOON + HOUR) == [second.items[0], first.items[1]]


def test_a_graphs_own_limit_goes_before_the_lane_of_a_schedule(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id, overlap_policy=OverlapPolicy.BUFFER_ONE)
    store(database, schedule)
    with database.write() as c:
        c.execute(database.sql('UPDATE "AgentGraph" SET "policy" = ?'), ('{"max_concurrent_executions": 1}',))
    fire(database, schedule)
    assert executions(database) == [(schedule.id, "QUEUED", graph_id, 1)]


def test_executions_of_a_schedule_are_those_of_its_user(database: Database, graph_id: str) -> None:
    schedule = make_schedule(graph_id)
    store(database, schedule, make_schedule(graph_id, user_id="somebody"))
    fire(database, schedule)
    with database.read() as c:
        assert c.execute('SELECT "userId","revision","attempt" FROM "AgentGraphExecution"').all() == [
            (DEFAULT_USER_ID, 1, 0)
        ]
