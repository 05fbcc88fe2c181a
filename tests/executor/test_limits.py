"""What bounds an executor process: counting children, words for its end, and the page that promises it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from autogpt_server.executor.child_count import (
    ChildCount,
    TooManyChildren,
    count_children,
    has_children,
    is_crowded,
)
from autogpt_server.executor.confinement import COOKIE, executor_folder
from autogpt_server.executor.exit_reasons import OUT_OF_MEMORY, exit_reason
from autogpt_server.executor.leftovers import clear_away_all
from autogpt_server.executor.memory import MemoryWatch
from autogpt_server.executor.usage import excess
from autogpt_server.service.child import UNKNOWN
from autogpt_server.settings import Settings
from tests.make_settings import make_settings

PAGE = (Path(__file__).parents[2] / "docs" / "isolation.md").read_text()


def test_children_that_have_ended_count_no_more(tmp_path: Path) -> None:
    count, limit = ChildCount(tmp_path / "children"), count_children(os.getpid()) + 3
    assert not has_children(tmp_path / "children")
    for _ in range(limit + 20):  # of processes that have ended meanwhile
        count.claim(limit)
    assert has_children(tmp_path / "children")
    # More than are missing: one that another test has left may end at this moment.
    alive = [subprocess.Popen(["sleep", "30"]) for _ in range(6)]
    try:
        with pytest.raises(TooManyChildren, match=f"more than {limit} processes"):
            for _ in range(limit):
                count.claim(limit)
    finally:
        for process in alive:
            process.kill()
            process.wait()
    count.claim(limit)


def test_an_executor_is_crowded_while_as_many_live_as_may(tmp_path: Path) -> None:
    path, limit = tmp_path / "children", count_children(os.getpid()) + 2
    count = ChildCount(path)
    with subprocess.Popen(["sleep", "30"]) as first, subprocess.Popen(["sleep", "30"]) as last:
        assert not is_crowded(path, os.getpid(), limit)
        with pytest.raises(TooManyChildren):
            for _ in range(limit + 1):
                count.claim(limit)
        assert is_crowded(path, os.getpid(), limit)
        last.kill()
        last.wait()
        assert not is_crowded(path, os.getpid(), limit)
        first.kill()
    assert not is_crowded(tmp_path / "none", os.getpid(), 0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (7, "it ended itself with exit code 7"),
        (OUT_OF_MEMORY, "it used up its 2,048 MB of memory (AUTOGPT_EXECUTOR_MEMORY_MB)"),
        (-signal.SIGSEGV, "it ended by signal 11 (SIGSEGV): a segmentation fault"),
        (-signal.SIGTERM, "it ended by signal 15 (SIGTERM)"),
        (-99, "it ended by signal 99"),
        (UNKNOWN, "it ended by exit code not known"),
    ],
)
def test_every_end_has_words(code: int, words: str) -> None:
    assert exit_reason(code, 2048) == words


def test_a_refused_allocation_is_told_with_the_setting_to_change() -> None:
    error = MemoryWatch(1_000_000, runs_alone=False).refused()
    assert str(error).endswith("may use 1,000,000 MB (AUTOGPT_EXECUTOR_MEMORY_MB)")


@pytest.mark.parametrize(("runs_alone", "code"), [(False, OUT_OF_MEMORY), (True, 0)])
def test_where_memory_is_used_up_the_process_leaves_unless_it_runs_one_execution(runs_alone: bool, code: int) -> None:
    refuse = (
        f"from autogpt_server.executor.memory import MemoryWatch; MemoryWatch(1, runs_alone={runs_alone}).refused()"
    )
    assert subprocess.run([sys.executable, "-c", refuse], check=False, timeout=30).returncode == code


def test_folders_of_executors_that_are_gone_are_removed(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "file:database.db")
    process = subprocess.Popen(["true"])
    process.wait()
    old, ours = settings.run_dir / f"executor-{process.pid}", settings.run_dir / "executor-1"
    for folder in (old, ours):
        (folder / "tmp").mkdir(parents=True)
    sockets = [Path(f"{folder}.{topic}") for folder in (old, ours) for topic in ("handed", "queue")]
    sockets += [settings.run_dir / f"side-{pid}-0a1b.sock" for pid in (process.pid, 1)]
    for path in sockets:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(path))
    marks = Path(f"{old}.running")
    marks.write_text("")
    clear_away_all(settings, living=[1])
    assert not old.exists()
    assert ours.exists()
    assert [path.exists() for path in sockets] == [False, False, True, True, False, True]
    # They are read by whoever rescues its work.
    assert marks.exists()


def test_a_number_that_somebody_else_has_by_now_is_left_alone(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "file:database.db")
    stranger = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        folder = executor_folder(settings, stranger.pid)
        folder.mkdir(parents=True)
        ChildCount(folder / "children").claim(1_000)
        left = subprocess.Popen(
            ["sleep", "30"], start_new_session=True, env={COOKIE: str(folder), "PATH": "/bin:/usr/bin"}
        )
        clear_away_all(settings, living=[])
        # Long before it would have ended by itself; whoever killed it may have taken its exit code.
        left.wait(5)
        assert not folder.exists()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_what_is_gone_takes_nothing(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "file:database.db")
    assert excess(settings, 2**22 + 1) is None


def test_the_page_tells_the_defaults() -> None:
    for name in (
        "executor_memory_mb",
        "executor_max_children",
        "executor_lease_seconds",
        "node_timeout_seconds",
        "max_deaths",
    ):
        default = Settings.model_fields[name].default
        assert f"| `AUTOGPT_{name.upper()}` | {default} |" in PAGE
