from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from sample_processes import (
    CountsSignals,
    Quiet,
    Raises,
    ReadyTwice,
    Refuses,
    Returns,
    RunsLoop,
    Silent,
    Sleeper,
    Starter,
    Stubborn,
    TripsOverTheStop,
)
from supervised import LIMIT, all_gone

from autogpt_server.service.child import ProcessEnded
from autogpt_server.service.process import AppProcess, wait_any
from autogpt_server.settings import Settings


def run_here(code: str, *, send: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run code that starts a process in the foreground; send a signal when it has written a line."""
    root, here = Path(__file__).parent.parent.parent, Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{here}"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        if send is not None:
            assert process.stdout
            process.stdout.readline()
            process.send_signal(send)
        out, err = process.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess([], process.returncode, out, err)


def test_a_process_in_the_background_is_ready_when_it_says_so_and_tells_facts():
    with Sleeper() as process:
        assert process.wait_ready() == {"pid": process.child.pid}
        assert process.child.pid != os.getpid()
    assert process.child.exit_code == 0


def test_a_process_that_says_nothing_is_ready_when_it_runs():
    with Quiet() as process:
        assert process.wait_ready() == {}


def test_start_returns_the_process_id_at_once_and_stop_the_exit_code():
    process = Sleeper()
    pid = process.start(background=True)
    assert process.wait_ready()["pid"] == pid
    assert process.stop() == 0


def test_what_fails_because_the_stop_interrupted_it_makes_no_failure_of_the_stop():
    with TripsOverTheStop() as process:
        process.wait_ready()
    assert process.child.exit_code == 0


def test_starting_twice_is_refused():
    with Quiet() as process, pytest.raises(RuntimeError, match="started already"):
        process.start(background=True)


def test_a_stopped_process_can_be_started_again():
    process = Quiet()
    with process:
        first = process.child.pid
    with process:
        assert process.child.pid != first


@pytest.mark.parametrize("exit_code", [0, 3])
def test_the_exit_code_is_known(exit_code: int):
    process = Returns(exit_code)
    process.start(background=True)
    assert process.child.wait_gone(LIMIT) == exit_code


def test_the_signal_that_ended_a_process_is_known():
    with Sleeper() as process:
        os.kill(process.child.pid, signal.SIGKILL)
        assert process.child.wait_gone(LIMIT) == -signal.SIGKILL


def test_waiting_for_a_process_that_dies_first_raises_its_exit_code():
    process = Raises()
    process.start(background=True, silent=True)
    with pytest.raises(ProcessEnded, match="exit code 1") as caught:
        process.wait_ready()
    assert caught.value.exit_code == 1


def test_a_refusal_before_readiness_has_its_own_exit_code():
    process = Refuses()
    process.start(background=True, silent=True)
    with pytest.raises(ProcessEnded) as caught:
        process.wait_ready()
    assert caught.value.exit_code == 78


def test_waiting_ends_after_its_time():
    process = Silent()
    process.start(background=True)
    with pytest.raises(TimeoutError, match="Silent was not ready within 0.05 seconds"):
        process.wait_ready(0.05)
    process.stop()


def test_a_class_that_forgets_to_say_who_tells_readiness_fails_loudly():
    process = ReadyTwice()
    process.start(background=True, silent=True)
    assert process.child.wait_gone(LIMIT) == 1


@pytest.mark.parametrize("kind", [CountsSignals, RunsLoop])
def test_cleanup_runs_once_and_further_signals_change_nothing(kind: type[CountsSignals], tmp_path: Path):
    with kind(tmp_path) as process:
        process.child.send_signal(signal.SIGTERM)
        assert process.child.wait_gone(LIMIT) == 0
    assert (tmp_path / "cleanups").read_text() == "one\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_signal_to_stop_stops_in_order(number: int, tmp_path: Path):
    with CountsSignals(tmp_path) as process:
        process.child.send_signal(number)
        assert process.child.wait_gone(LIMIT) == 0
    assert (tmp_path / "cleanups").exists()


def test_what_hangs_in_c_code_or_in_cleanup_ends_hard():
    with Stubborn() as process:
        process.child.send_signal(signal.SIGTERM)
        assert process.child.wait_gone(LIMIT) == 1


def test_what_does_not_stop_in_time_is_killed():
    with Stubborn() as process:
        assert process.stop(timeout=0.05) == -signal.SIGKILL


def test_settings_travel_and_so_do_the_name_and_the_title(tmp_path: Path):
    with Sleeper(Settings(data_dir=tmp_path)) as process:
        assert process.settings.data_dir == tmp_path
        assert psutil.Process(process.child.pid).cmdline()[0] == "autogpt: Sleeper"


def test_news_of_several_processes_can_be_waited_for_at_once():
    sleeper, short = Sleeper(), Returns(4)
    for process in (sleeper, short):
        process.start(background=True)
    while sleeper.child.facts is None or short.child.is_alive:
        wait_any([sleeper, short], LIMIT)
    assert short.child.exit_code == 4
    sleeper.stop()


def test_a_process_of_a_process_comes_from_the_same_fork_server_and_ends_with_its_starter():
    with Starter() as process:
        facts = process.wait_ready()
        inner = psutil.Process(facts["inner"])
        assert facts["parents"][0] == facts["parents"][1]
    assert all_gone([inner])


def test_a_process_ends_in_order_when_its_starter_is_killed():
    with Starter() as process:
        inner = psutil.Process(process.wait_ready()["inner"])
        os.kill(process.child.pid, signal.SIGKILL)
        assert all_gone([inner])


def test_a_blocked_process_ends_hard_when_its_starter_is_killed():
    code = "import os; from sample_processes import *\np = Stubborn(); p.start(True)\nsay(str(p.wait_ready()['pid']))\n"
    root, here = Path(__file__).parent.parent.parent, Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{here}"}
    with subprocess.Popen(
        [sys.executable, "-c", code + "os.kill(os.getpid(), 9)"], stdout=subprocess.PIPE, text=True, env=environment
    ) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        starter.wait(LIMIT)
        # Its standard output closes when the last of its processes has gone.
        assert starter.stdout.read() == ""
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_was_started_is_stopped_when_the_starter_ends_without_doing_so():
    ended = run_here("from sample_processes import *\np = Sleeper(); p.start(background=True); p.wait_ready()")
    assert (ended.returncode, ended.stdout) == (0, "cleanup Sleeper\n")


def test_in_the_foreground_start_returns_zero_after_an_orderly_stop():
    code = "from sample_processes import *\nclass Here(Sleeper):\n  def ready(self, **facts): say('ready')\n"
    ended = run_here(code + "say(str(Here().start()))", send=signal.SIGINT)
    assert (ended.returncode, ended.stdout) == (0, "cleanup Here\n0\n")


def test_in_the_foreground_a_failure_is_the_exit_code():
    ended = run_here("from sample_processes import *\nRaises().start()")
    assert ended.returncode == 1
    assert "out of luck" in ended.stderr


def test_bad_settings_are_a_refusal_that_names_the_field_but_not_the_value():
    code = "import os; os.environ['AUTOGPT_PORT'] = 'hunter2'\nfrom sample_processes import *\nQuiet().start()"
    ended = run_here(code)
    assert ended.returncode == 78
    assert "port" in ended.stderr
    assert "hunter2" not in ended.stderr


@pytest.mark.parametrize("silent", [True, False])
def test_a_silent_process_writes_nothing(silent: bool):
    ended = run_here(f"from sample_processes import *\nTalks().start(silent={silent})")
    assert ("to standard output" in ended.stdout, "to standard error" in ended.stderr) == (not silent, not silent)


def test_a_process_must_have_something_to_run():
    with pytest.raises(TypeError):
        AppProcess()  # type: ignore[abstract]
