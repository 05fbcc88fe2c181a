from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from sample_processes import Quiet, Sleeper
from supervised import LIMIT, all_gone

from autogpt_server.errors import Unavailable
from autogpt_server.service import fork_server
from autogpt_server.service.fork_server import FORK_SERVER


def test_one_fork_server_serves_all_and_has_a_single_thread():
    with Sleeper() as first, Sleeper() as second:
        assert {psutil.Process(p.child.pid).ppid() for p in (first, second)} == {FORK_SERVER.pid}
        assert len(os.listdir(f"/proc/{FORK_SERVER.pid}/task")) == 1


def test_a_signal_from_the_terminal_does_not_reach_it():
    with Quiet():
        assert FORK_SERVER.pid is not None
        assert os.getsid(FORK_SERVER.pid) == FORK_SERVER.pid != os.getsid(0)


def test_ended_processes_leave_no_zombie():
    with Quiet() as process:
        pid = process.child.pid
    assert not psutil.pid_exists(pid)


def test_after_its_death_processes_are_known_to_live_and_the_next_start_brings_a_new_one():
    with Sleeper() as orphan:
        first = FORK_SERVER.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        while not orphan.child.is_lost:
            orphan.child.wait_gone(0.05)
        assert orphan.child.is_alive
        with Sleeper() as other:
            assert psutil.Process(other.child.pid).ppid() == FORK_SERVER.pid != first
        assert orphan.stop() == 255


def test_one_that_stands_still_is_killed_and_the_next_start_brings_a_new_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fork_server, "_FORK_SECONDS", 1)
    with Sleeper() as orphan:
        first = FORK_SERVER.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(Unavailable, match="the fork server has stood still for 1 s and was killed"):
            Sleeper().start(background=True)
        while not orphan.child.is_lost:
            orphan.child.wait_gone(0.05)
        with Sleeper() as other:
            assert psutil.Process(other.child.pid).ppid() == FORK_SERVER.pid != first


def test_a_process_that_came_from_one_that_stands_still_kills_it(monkeypatch: pytest.MonkeyPatch):
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *told: killed.append(told))
    server = fork_server.MachineForkServer()
    monkeypatch.setattr(server, "_origin", os.getppid())
    server._kill()
    # By now it is the child of another one: its own is gone.
    monkeypatch.setattr(server, "_origin", os.getpid())
    server._kill()
    assert killed == [(os.getppid(), signal.SIGKILL)]


def test_where_no_new_one_can_be_had_starting_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    with Quiet():
        monkeypatch.setattr(FORK_SERVER, "ensure_running", lambda: None)  # as in a process that came from it
        monkeypatch.setattr(FORK_SERVER, "_forkserver_address", "/nowhere")
        with pytest.raises(Unavailable, match="Sleeper cannot be started now"):
            Sleeper().start(background=True)


def test_modules_are_imported_once_for_all_wherever_it_was_started_and_missing_ones_are_named(tmp_path: Path):
    (tmp_path / "heavy.py").write_text("import os\nimporter = os.getpid()\n")
    code = (
        "import sys\n"
        f"sys.path[:0] = [{str(Path(__file__).parent.parent.parent)!r}, {str(tmp_path)!r}]\n"
        "from autogpt_server.service import child\n"
        "from autogpt_server.service.fork_server import FORK_SERVER\n"
        "child.preload(['heavy', 'does_not_exist'])\n"
        "process = child.Child('p', 'reports:report')\n"
        "print(process.wait_ready(20)['importer'] == FORK_SERVER.pid)\n"
    )
    (tmp_path / "reports.py").write_text(
        "import heavy\ndef report(status): status.send({'importer': heavy.importer})\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=LIMIT, check=False
    )
    assert ended.stdout == "True\n", ended.stderr
    assert "does_not_exist is not preloaded" in ended.stderr


def test_it_ends_after_the_last_process_that_could_ask_it(tmp_path: Path):
    code = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent.parent.parent)!r})\n"
        "from autogpt_server.service import child\n"
        "from autogpt_server.service.fork_server import FORK_SERVER\n"
        "child.preload([])\n"
        "child.Child('p', 'os:getpid')\n"
        "print(FORK_SERVER.pid, flush=True)\n"
        "sys.stdin.read()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as starter:
        assert starter.stdout
        server = psutil.Process(int(starter.stdout.readline()))
        starter.communicate()
    assert all_gone([server])
