"""What is wrong with processes is said in words, and idleness is not wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autogpt_server.data.queue_depth import QueueDepth
from autogpt_server.server.process_health import find_problems, look_at_processes
from autogpt_server.server.shapes import Part, ProcessPart
from autogpt_server.settings import Settings
from autogpt_server.telemetry.counting import metrics_folder
from autogpt_server.telemetry.counts import Counts
from autogpt_server.telemetry.measures import WRITE_FAILURES
from tests.make_settings import make_settings

IDLE = QueueDepth({}, 0.0)


def executor(beat: float = 1.0, claim: float | None = None) -> ProcessPart:
    return ProcessPart(
        process="Executor", pid=7, last_beat_seconds=beat, last_claim_seconds=claim, last_commit_seconds=claim
    )


@pytest.mark.parametrize(
    ("processes", "depth", "problems"),
    [
        ([executor()], IDLE, []),
        ([executor(claim=86_400.0)], IDLE, []),
        ([executor(claim=2.0)], QueueDepth({"QUEUED": 9}, 500.0, 0, 500.0), []),
        ([executor(beat=11.0)], IDLE, ["Executor 7 has given no sign of life for 11 s"]),
        ([], IDLE, ["0 of 1 executor processes run on this machine"]),
        (
            [executor(claim=60.0)],
            QueueDepth({"QUEUED": 1}, 45.0, 0, 45.0),
            ["an execution has waited for 45 s, and nothing was claimed for 60 s"],
        ),
        (
            [executor(claim=60.0)],
            QueueDepth({"QUEUED": 7}, 45.0, 7, 0.0),
            ["executions during which an executor process died run one by one in quarantine; 7 wait for that"],
        ),
    ],
)
def test_problems(tmp_path: Path, processes: list[ProcessPart], depth: QueueDepth, problems: list[str]) -> None:
    settings = make_settings(tmp_path, "file:database.db")
    assert find_problems(settings, [], processes, depth) == problems


def test_a_part_that_is_away_says_so_first(tmp_path: Path) -> None:
    part = Part(status="unavailable", detail="the database did not answer within 3 s", answer_seconds=3)
    settings = make_settings(tmp_path, "file:database.db")
    assert find_problems(settings, [part], [executor()], None) == ["the database did not answer within 3 s"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = make_settings(tmp_path, "file:database.db", process_stall_seconds=30)
    metrics_folder(settings.run_dir).mkdir(parents=True)
    return settings


@pytest.fixture
def manager(settings: Settings) -> Iterator[Counts]:
    counts = Counts(metrics_folder(settings.run_dir), "ExecutionManager")
    yield counts
    counts.close()


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: now)


def test_a_service_that_stands_still_is_named(
    settings: Settings, manager: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.beat()
    assert look_at_processes(settings).faults == []
    later(monkeypatch, 16)
    assert look_at_processes(settings).faults == [
        f"ExecutionManager {os.getpid()} has stood still for 16 s; it is replaced after 30 s "
        "(AUTOGPT_PROCESS_STALL_SECONDS)"
    ]
    manager.beat()
    assert look_at_processes(settings).faults == []


def test_a_service_that_has_ended_is_missed_and_one_that_never_ran_is_not(settings: Settings) -> None:
    assert look_at_processes(settings).faults == []
    Counts(metrics_folder(settings.run_dir), "ExecutionManager").close()
    assert look_at_processes(settings).faults == ["ExecutionManager does not run; it is being started again"]


def test_a_process_that_could_not_write_is_named_for_a_while(
    settings: Settings, manager: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look_at_processes(settings).unwritten == []
    manager.add(WRITE_FAILURES, 1)
    (text,) = look_at_processes(settings).unwritten
    assert text.startswith(f"the database did not take what ExecutionManager {os.getpid()} wrote")
    later(monkeypatch, 6)
    assert look_at_processes(settings).unwritten == []
