"""Each run of a system task is written down, with its cause, its result and its duration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autogpt_server.compose.scheduler import make_ports
from autogpt_server.data.database import Database
from autogpt_server.data.task_runs import TaskCause, TaskOutcome, TaskRun, TaskRuns
from autogpt_server.errors import Unavailable
from autogpt_server.model.schedule import SlotOutcome
from autogpt_server.scheduler import jobs
from autogpt_server.scheduler.task_ledger import on_request, recorded
from autogpt_server.settings import Settings
from tests.scheduler.test_system_tasks import Running, due_task, ledger, until

LATE = "report_late_executions"


@pytest.fixture
def bound(settings: Settings, database: Database) -> Iterator[TaskRuns]:
    runs = TaskRuns(database)
    for name, task in make_ports(settings, database).items():
        jobs.bind(name, recorded(name, task, runs))
    yield runs
    for name in make_ports(settings, database):
        jobs.bind(name, None)


def runs_of(runs: TaskRuns) -> list[TaskRun]:
    return runs.list(LATE, limit=10).items


def test_of_several_schedulers_one_runs_it_and_writes_it_down(
    settings: Settings, database: Database, bound: TaskRuns
) -> None:
    at = due_task(database)
    with Running(settings, database), Running(settings, database):
        until(lambda: [run for run in runs_of(bound) if run.ended_at is not None])
    (run,) = runs_of(bound)
    assert (run.cause, run.scheduled_at, run.outcome) == (TaskCause.SCHEDULE, at, TaskOutcome.COMPLETED)
    assert run.result == "No late executions detected."
    assert run.duration is not None
    assert [slot.outcome for slot in ledger(database)] == [SlotOutcome.FIRED]


def test_what_somebody_asks_for_is_written_down_as_that(bound: TaskRuns) -> None:
    with on_request():
        assert jobs.report_late_executions() == "No late executions detected."
    assert [(run.cause, run.scheduled_at) for run in runs_of(bound)] == [(TaskCause.REQUEST, None)]


def test_a_failure_is_written_down_and_goes_on(database: Database) -> None:
    def fail() -> str:
        raise OSError("no disk")

    runs = TaskRuns(database)
    with pytest.raises(OSError, match="no disk"):
        recorded(LATE, fail, runs)()
    assert [(run.outcome, run.result) for run in runs_of(runs)] == [(TaskOutcome.FAILED, "OSError: no disk")]


def test_a_ledger_that_is_away_keeps_no_task_from_being_done(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(database, "write", away)
    assert recorded(LATE, lambda: "done", TaskRuns(database))() == "done"


def test_runs_page(database: Database) -> None:
    runs = TaskRuns(database)
    ids = [runs.begin(LATE, TaskCause.REQUEST) for _ in range(3)]
    first = runs.list(LATE, limit=2)
    rest = runs.list(LATE, limit=2, cursor=first.next_cursor)
    assert [run.id for run in (*first.items, *rest.items)] == ids[::-1]
    assert rest.next_cursor is None
