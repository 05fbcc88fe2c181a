"""Who fires schedules dies at every step between "due" and "accepted": each slot leads to one execution."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import read_jobs
from autogpt_server.data.schedules import Schedules
from autogpt_server.model import clock
from autogpt_server.model.schedule import MisfirePolicy, Schedule
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.settings import Settings
from tests.data.schedule_rows import make_schedule, stored_graph
from tests.faults.test_deaths import OF_SCHEDULES

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0
SECOND = timedelta(seconds=1)
FIRING = [point for point in OF_SCHEDULES if not point.startswith("schedule.")]
EDITS = [point for point in OF_SCHEDULES if point.startswith("schedule.")]

CREATE = """
import sys
from pathlib import Path
from make_settings import make_settings
from autogpt_server.data.database import Database
from autogpt_server.data.schedules import Schedules
from autogpt_server.service import crash_points
from tests.data.schedule_rows import job_of, make_schedule
crash_points.arm(Path(sys.argv[3]))
schedules = Schedules(Database.from_settings(make_settings(Path(sys.argv[2]), sys.argv[1])), lambda ids: None)
if sys.argv[4] == "create":
    schedule = make_schedule("g")
    schedules.create(schedule, job_of(schedule))
elif sys.argv[4] == "edit":
    paused = {"next_run_at": None, "is_enabled": False}
    schedules.edit(sys.argv[5], lambda s: s.model_copy(update=paused), lambda s: None)
else:
    schedules.delete(sys.argv[5], lambda s: None)
"""


class Firers:
    """Processes that fire, and where they die."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.points = settings.data_dir / "points"
        self.points.mkdir(parents=True)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        url = self.settings.database_url
        command = [
            sys.executable,
            "-m",
            "tests.faults.firing_process",
            url,
            str(self.settings.data_dir),
            str(self.points),
        ]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "fires\n"
        return process

    def arm(self, point: str, how: str = "kill") -> None:
        draft = self.points / "draft"
        draft.write_text(how)
        draft.rename(self.points / f"{point}.1")

    def stop(self) -> None:
        for process in self.processes:
            with contextlib.suppress(BrokenPipeError):
                process.communicate(timeout=20)


@pytest.fixture
def firers(settings: Settings, database: Database) -> Iterator[Firers]:
    firers = Firers(settings, database)
    yield firers
    for process in firers.processes:
        process.kill()
        process.communicate()


def add(database: Database, graph_id: str, count: int) -> list[Schedule]:
    """Store schedules that are due every second and make up for everything."""
    now = clock.from_ms(clock.now_ms() // 1000 * 1000)
    made: list[Schedule] = []
    for _ in range(count):
        schedule = make_schedule(
            graph_id, cron="", interval_seconds=1, starts_at=now, next_run_at=now + SECOND, created_at=now,
            misfire_policy=MisfirePolicy.ALL, misfire_limit=1000,
        )  # fmt: skip
        Schedules(database, lambda ids: None).create(schedule, job_row(schedule))
        made.append(schedule)
    return made


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def fired(database: Database) -> int:
    with database.read() as c:
        return c.execute('SELECT COUNT(*) FROM "AgentScheduleSlot"').scalar_one()


def check(database: Database, schedules: list[Schedule]) -> int:
    """Every slot from the first to the last is there once, with the one execution that it names; gives how many."""
    total = 0
    with database.read() as c:
        slots = c.execute(
            'SELECT "scheduleId","scheduledAt","outcome","graphExecutionId" FROM "AgentScheduleSlot"'
        ).all()
        executions = c.execute('SELECT "scheduleId","scheduledAt","id" FROM "AgentGraphExecution"').all()
    assert sorted((row[0], row[1], row[3]) for row in slots) == sorted(map(tuple, executions))
    assert {row[2] for row in slots} <= {"fired", "late"}
    for schedule in schedules:
        times = sorted(database.from_column(row[1]) for row in slots if row[0] == schedule.id)
        first = schedule.next_run_at
        assert first is not None
        assert times == [first + i * SECOND for i in range(len(times))]
        now = Schedules(database, lambda ids: None).find(schedule.id)
        assert now is not None
        assert now.runs == len(times)
        total += len(times)
    assert total == len(slots)
    return total


@pytest.mark.parametrize("point", FIRING)
def test_who_fires_dies_at_each_step(firers: Firers, database: Database, point: str) -> None:
    schedules = add(database, stored_graph(database), 3)
    firers.arm(point)
    first = firers.start()
    assert first.wait(PATIENCE) == -signal.SIGKILL
    died_with = fired(database)
    firers.start()
    until(lambda: fired(database) >= died_with + 6)
    firers.stop()
    assert check(database, schedules) >= 6


def test_three_who_fire_are_killed_at_random(firers: Firers, database: Database) -> None:
    dice = random.Random(4711)
    # On SQLite whoever stands still inside a transaction keeps everybody from writing until somebody kills it.
    ways = [signal.SIGKILL] if database.provider == "sqlite" else [signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]
    schedules = add(database, stored_graph(database), 20)
    running = [firers.start() for _ in range(3)]
    for _ in range(3):
        before = fired(database)
        victim = running.pop(dice.randrange(3))
        victim.send_signal(dice.choice(ways))
        # The others go on with its slots.
        until(lambda before=before: fired(database) > before + 20)
        victim.kill()
        running.append(firers.start())
    firers.stop()
    assert check(database, schedules) > 60


def run(firers: Firers, *arguments: str) -> int:
    command = [sys.executable, "-c", CREATE, firers.settings.database_url, str(firers.settings.data_dir)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.run([*command, str(firers.points), *arguments], cwd=ROOT, env=environment, timeout=60).returncode


@pytest.mark.parametrize("point", EDITS)
@pytest.mark.parametrize("work", ["create", "edit", "delete"])
def test_a_change_is_made_whole_or_not_at_all(firers: Firers, database: Database, work: str, point: str) -> None:
    (schedule,) = add(database, "g", 1)
    firers.arm(point)
    assert run(firers, work, schedule.id) == -signal.SIGKILL
    schedules = Schedules(database, lambda ids: None)
    is_made = point == "schedule.committed"
    with database.read() as c:
        ids = c.execute('SELECT "id" FROM "AgentExecutionSchedule" WHERE "deletedAt" IS NULL').scalars()
        jobs = read_jobs(database, c, ids)
    match work:
        case "create":
            assert (len(ids), len(jobs)) == ((2, 2) if is_made else (1, 1))
        case "edit":
            found = schedules.find(schedule.id)
            assert found is not None
            assert (found.is_enabled, len(jobs)) == ((False, 0) if is_made else (True, 1))
        case _:
            assert (len(ids), len(jobs)) == ((0, 0) if is_made else (1, 1))
            # Nothing brings it back, whatever others still remember of it.
            assert (schedules.adopt([schedule]) == []) is True
