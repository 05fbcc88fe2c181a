"""Schedules are stored, edited and deleted together with their job rows, and deleted ones stay deleted."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import read_jobs
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import NotAuthorizedError, ScheduleNotFound
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.schedule import ExcludedDates, MisfirePolicy, OverlapPolicy, Schedule
from tests.data.schedule_rows import NOON, job_of, make_schedule


@pytest.fixture
def announced() -> list[str]:
    return []


@pytest.fixture
def schedules(database: Database, announced: list[str]) -> Schedules:
    return Schedules(database, announced.extend)


def full(**more: object) -> Schedule:
    return make_schedule(
        "any", graph_version=None, checked_version=3, timezone="Europe/Berlin", inputs={"x": ["ü", None]},
        credentials={"key": {"id": "c"}}, misfire_policy=MisfirePolicy.ALL, misfire_limit=7,
        overlap_policy=OverlapPolicy.BUFFER_ONE, starts_at=NOON, ends_at=NOON + timedelta(days=9), max_runs=4,
        jitter_seconds=30, excluded_dates=(ExcludedDates(first=date(2026, 1, 1), last=date(2026, 1, 2), reason="x"),),
        pause_after_failures=3, run_at=NOON, interval_seconds=60, paused_at=NOON, paused_by="ann", paused_reason="why",
        **more,
    )  # fmt: skip


def test_everything_of_a_schedule_is_kept(schedules: Schedules, announced: list[str]) -> None:
    schedule = full()
    schedules.create(schedule, job_of(schedule))
    assert schedules.get(DEFAULT_USER_ID, schedule.id) == schedule
    assert announced == [schedule.id]


def test_another_users_schedule_is_not_found(schedules: Schedules) -> None:
    schedule = full(user_id="other")
    schedules.create(schedule, None)
    for id_ in (schedule.id, new_id(), "%' OR 1=1"):
        with pytest.raises(ScheduleNotFound):
            schedules.get(DEFAULT_USER_ID, id_)
    assert schedules.list(DEFAULT_USER_ID, limit=10).items == []


def test_lists_come_in_pages_the_newest_first(schedules: Schedules) -> None:
    made = [make_schedule(graph) for graph in ("g", "h", "g", "g")]
    for one in made:
        schedules.create(one, None)
    first = schedules.list(DEFAULT_USER_ID, "g", limit=2)
    second = schedules.list(DEFAULT_USER_ID, "g", limit=2, cursor=first.next_cursor)
    assert [*first.items, *second.items] == [made[3], made[2], made[0]]
    assert second.next_cursor is None
    assert schedules.firing(None, "h") == [made[1]]


def test_an_edit_changes_schedule_and_job_row_and_raises_the_revision(
    schedules: Schedules, database: Database, announced: list[str]
) -> None:
    schedule = make_schedule("g")
    schedules.create(schedule, job_of(schedule))
    later = NOON + timedelta(hours=1)
    after = schedules.edit(schedule.id, lambda s: s.model_copy(update={"next_run_at": later, "name": "new"}), job_of)
    assert (after.name, after.next_run_at, after.revision) == ("new", later, 1)
    assert schedules.get(DEFAULT_USER_ID, schedule.id) == after
    with database.read() as c:
        row = c.execute("SELECT id, next_run_time FROM apscheduler_jobs").one()
    assert row == (schedule.id, later.timestamp())
    assert announced == [schedule.id] * 2


def test_a_refused_edit_changes_nothing(schedules: Schedules) -> None:
    schedule = make_schedule("g")
    schedules.create(schedule, job_of(schedule))

    def refuse(_: Schedule) -> Schedule:
        raise NotAuthorizedError("no")

    with pytest.raises(NotAuthorizedError):
        schedules.edit(schedule.id, refuse, job_of)
    with pytest.raises(NotAuthorizedError):
        schedules.delete(schedule.id, refuse)
    assert schedules.find(schedule.id) == schedule


def test_a_deleted_schedule_is_gone_for_good(schedules: Schedules, database: Database) -> None:
    schedule, other = make_schedule("g"), make_schedule("g")
    for one in (schedule, other):
        schedules.create(one, job_of(one))
    assert schedules.delete(schedule.id, lambda s: None) == schedule
    with database.read() as c:
        assert read_jobs(database, c, [schedule.id, other.id]).keys() == {other.id}
    with pytest.raises(ScheduleNotFound):
        schedules.delete(schedule.id, lambda s: None)
    with pytest.raises(ScheduleNotFound):
        schedules.edit(schedule.id, lambda s: s, job_of)
    assert schedules.adopt([schedule]) == []
    assert schedules.due(NOON + timedelta(days=1), limit=10) == [other]


def test_what_is_due_comes_by_time_and_in_parts(schedules: Schedules) -> None:
    made = [make_schedule("g", next_run_at=NOON + timedelta(minutes=i // 2)) for i in range(6)]
    for one in reversed(made):
        schedules.create(one, None)
    until = NOON + timedelta(minutes=2)
    first = schedules.due(until, limit=3)
    last = first[-1]
    assert last.next_run_at is not None
    second = schedules.due(until, after=(last.next_run_at, last.id), limit=3)
    assert [*first, *second] == made[:4]
