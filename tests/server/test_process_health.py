"""What is wrong with processes is said in words, and idleness is not wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from autogpt_server.data.queue_depth import QueueDepth
from autogpt_server.server.process_health import find_problems
from autogpt_server.server.shapes import Part, ProcessPart
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
        ([executor(claim=2.0)], QueueDepth({"QUEUED": 9}, 500.0), []),
        ([executor(beat=11.0)], IDLE, ["Executor 7 has given no sign of life for 11 s"]),
        ([], IDLE, ["0 of 1 executor processes run on this machine"]),
        (
            [executor(claim=60.0)],
            QueueDepth({"QUEUED": 1}, 45.0),
            ["an execution has waited for 45 s, and nothing was claimed for 60 s"],
        ),
    ],
)
def test_problems(tmp_path: Path, processes: list[ProcessPart], depth: QueueDepth, problems: list[str]) -> None:
    settings = make_settings(tmp_path, "file:database.db")
    assert find_problems(settings, [], processes, depth) == problems


def test_a_part_that_is_away_says_so_first(tmp_path: Path) -> None:
    part = Part(status="unavailable", detail="no answer in time", answer_seconds=3)
    settings = make_settings(tmp_path, "file:database.db")
    assert find_problems(settings, [part], [executor()], None) == ["no answer in time"]
