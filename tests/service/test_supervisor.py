from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from supervised import LIMIT, Supervised, all_gone

from autogpt_server.service.restarts import FIRST_DELAY, LONGEST_DELAY, RestartDelay
from autogpt_server.service.supervisor import ProcessSpec, Supervisor


def sample(name: str, *after: str, once: bool = False) -> dict[str, Any]:
    return {"path": f"sample_processes:{name}", "after": after, "once": once}


IN_ORDER = (sample("migrate", once=True), sample("First", "migrate"), sample("Starter", "First"))


def test_processes_start_in_order_of_readiness_and_stop_in_reverse_order(tmp_path: Path):
    with Supervised(*IN_ORDER, folder=tmp_path) as server:
        assert server.line() == "migrated"
        assert [server.ready()["ready"] for _ in range(3)] == ["migrate", "First", "Starter"]
        family = server.family()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.rest() == ["cleanup Sleeper", "cleanup Starter", "cleanup First"]
        assert all_gone(family)


def test_what_waits_for_the_same_process_starts_at_the_same_time(tmp_path: Path):
    specs = (sample("First"), sample("Silent", "First"), sample("Second", "First"))
    with Supervised(*specs, folder=tmp_path) as server:
        assert [server.ready()["ready"] for _ in range(2)] == ["First", "Second"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_signal_to_stop_is_an_orderly_stop(number: int, tmp_path: Path):
    with Supervised(sample("First"), folder=tmp_path) as server:
        server.ready()
        server.process.send_signal(number)
        assert server.wait() == 0
        assert server.rest() == ["cleanup First"]


def test_a_signal_while_processes_still_start_stops_too(tmp_path: Path):
    with Supervised(sample("First"), sample("Silent", "First"), folder=tmp_path) as server:
        server.ready()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.rest() == ["cleanup First"]


def test_a_second_signal_stops_at_once(tmp_path: Path):
    with Supervised(sample("First"), sample("NeverCleansUp", "First"), folder=tmp_path) as server:
        server.ready(), server.ready()
        server.process.send_signal(signal.SIGINT)
        assert server.line() == "cleaning up for ever"
        server.process.send_signal(signal.SIGINT)
        assert server.wait() == 0
        assert "NeverCleansUp has not ended in time; killing it" in server.complaint("killing it")


def test_a_killed_process_comes_back_and_the_others_stay(tmp_path: Path):
    with Supervised(sample("First"), sample("Second", "First"), folder=tmp_path) as server:
        first, second = server.ready(), server.ready()
        os.kill(second["pid"], signal.SIGKILL)
        assert server.complaint("Second ended") == (
            "autogpt-server: Second ended (signal 9 (SIGKILL)); starting it again in 0.1 s"
        )
        again = server.ready()
        assert again["ready"] == "Second"
        assert again["pid"] != second["pid"]
        assert psutil.pid_exists(first["pid"])


def test_restarts_come_later_and_later(tmp_path: Path):
    with Supervised(sample("Raises"), folder=tmp_path) as server:
        seconds = [re.search(r"in ([\d.]+) s", server.complaint("starting it again")) for _ in range(4)]
        assert [found and found.group(1) for found in seconds] == ["0.1", "0.2", "0.4", "0.8"]


def test_the_delay_is_bounded_and_starts_anew_after_a_healthy_life():
    delay = RestartDelay()
    assert [delay.after(0) for _ in range(9)][-2:] == [LONGEST_DELAY, LONGEST_DELAY]
    assert delay.after(59) == LONGEST_DELAY
    assert delay.after(60) == FIRST_DELAY
    # A short delay is over sooner.
    assert [delay.after(1.9), delay.after(4.0)] == [2 * FIRST_DELAY, FIRST_DELAY]


@pytest.mark.parametrize("name", ["Refuses", "refuse_to_migrate"])
def test_a_refusal_at_the_first_start_stops_everything_with_its_exit_code(name: str, tmp_path: Path):
    once = name == "refuse_to_migrate"
    with Supervised(sample("First"), sample(name, "First", once=once), folder=tmp_path) as server:
        assert server.wait() == 78
        assert server.rest()[-1] == "cleanup First"
        assert "refuses to start" in server.complaint("refuses to start")


def test_bad_settings_stop_everything_and_name_the_field(tmp_path: Path):
    environment = {"AUTOGPT_PORT": "eighty"}
    with Supervised(sample("Calculator"), folder=tmp_path, environment=environment) as server:
        assert server.wait() == 78
        assert "port" in server.complaint("does not start")


def test_no_orphan_remains_when_the_supervisor_is_killed(tmp_path: Path):
    with Supervised(*IN_ORDER, folder=tmp_path) as server:
        for _ in range(3):
            server.ready()
        family = server.family()
        assert len(family) == 5  # first, starter, its own process, fork server, resource tracker
        server.process.kill()
        assert all_gone(family)
        assert sorted(server.rest()) == ["cleanup First", "cleanup Sleeper", "cleanup Starter"]


def test_everything_comes_back_when_the_fork_server_is_killed_and_nothing_of_before_remains(tmp_path: Path):
    with Supervised(*IN_ORDER, folder=tmp_path) as server:
        for _ in range(3):
            server.ready()
        before = [member for member in server.family() if "resource_tracker" not in " ".join(member.cmdline())]
        server.fork_server().kill()
        assert "starting all processes again" in server.complaint("fork server died")
        assert [server.ready()["ready"] for _ in range(2)] == ["First", "Starter"]
        assert all_gone(before)
        after = server.family()
        server.process.terminate()
        assert server.wait() == 0
        assert all_gone(after)


def test_a_process_and_the_fork_server_killed_together_come_back(tmp_path: Path):
    with Supervised(sample("First"), sample("Second", "First"), folder=tmp_path) as server:
        _, second = server.ready(), server.ready()
        server.fork_server().suspend()
        os.kill(second["pid"], signal.SIGKILL)
        server.fork_server().kill()
        assert [server.ready()["ready"] for _ in range(2)] == ["First", "Second"]


def test_a_process_that_dies_at_its_start_is_started_again(tmp_path: Path):
    with Supervised(sample("KilledOnce"), folder=tmp_path) as server:
        assert "signal 9" in server.complaint("KilledOnce ended")
        assert server.ready()["ready"] == "KilledOnce"


def test_a_process_that_never_gets_ready_is_replaced(tmp_path: Path):
    environment = {"SAMPLE_READY_WITHIN": "0.2"}
    with Supervised(sample("Silent"), folder=tmp_path, environment=environment) as server:
        assert "was not ready within 0.2 s" in server.complaint("Silent")
        assert "signal 9" in server.complaint("Silent ended")


def test_a_process_that_stands_still_is_killed_and_started_again(tmp_path: Path):
    environment = {"AUTOGPT_PROCESS_STALL_SECONDS": "1"}
    with Supervised(sample("First"), sample("StandsStillOnce"), folder=tmp_path, environment=environment) as server:
        first, still = sorted((server.ready(), server.ready()), key=lambda one: one["ready"])
        assert server.complaint("stood still") == (
            f"autogpt-server: StandsStillOnce ({still['pid']}) has stood still for 1 s; killing it"
        )
        assert "signal 9" in server.complaint("StandsStillOnce ended")
        again = server.ready()
        assert again["ready"] == "StandsStillOnce"
        # Longer than it may stand still.
        with pytest.raises(queue.Empty):
            server.complaint("stood still", limit=3)
        assert psutil.pid_exists(first["pid"])
        assert psutil.pid_exists(again["pid"])


def test_a_process_that_ends_has_the_time_that_it_gives_itself(tmp_path: Path):
    environment = {"AUTOGPT_PROCESS_STALL_SECONDS": "1"}
    with Supervised(sample("EndsSlowly"), folder=tmp_path, environment=environment) as server:
        os.kill(server.ready()["pid"], signal.SIGTERM)
        assert "EndsSlowly ended (exit code 0)" in server.complaint("EndsSlowly ended")
        assert [server.line(), server.line()] == ["cleaning up", "cleanup EndsSlowly"]


def test_orphans_that_the_kernel_gives_to_the_supervisor_are_reaped(tmp_path: Path):
    environment = {"SAMPLE_ADOPTS_ORPHANS": "1"}
    with Supervised(sample("LeavesOrphan"), folder=tmp_path, environment=environment) as server:
        orphan = psutil.Process(server.ready()["orphan"])
        assert orphan.ppid() == server.pid
        psutil.wait_procs([orphan], timeout=LIMIT)
        assert not orphan.is_running()
        server.process.terminate()
        assert server.wait() == 0


def test_names_must_be_known_and_unique():
    with pytest.raises(ValueError, match="Nobody"):
        Supervisor([ProcessSpec("a:B", after=("Nobody",))])
    with pytest.raises(ValueError, match="unique"):
        Supervisor([ProcessSpec("a:B"), ProcessSpec("c:B")])


def test_the_supervisor_stays_small_and_quick_to_import():
    code = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "import autogpt_server.app\n"
        "print(time.perf_counter() - start)\n"
        "heavy = {'pydantic', 'fastapi', 'structlog', 'sqlalchemy', 'prisma', 'httpx'} & sys.modules.keys()\n"
        "print(heavy or 'light')\n"
        "rss = next(l for l in open('/proc/self/status') if l.startswith('VmRSS'))\n"
        "print(int(rss.split()[1]) // 1024)\n"
    )
    root = Path(__file__).parent.parent.parent
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=LIMIT, check=True
    )
    seconds, light, megabytes = out.stdout.split()
    assert light == "light"
    assert float(seconds) < 1
    assert int(megabytes) < 30


def test_stopping_is_quick(tmp_path: Path):
    with Supervised(sample("First"), folder=tmp_path) as server:
        server.ready()
        start = time.monotonic()
        server.process.terminate()
        server.wait()
        assert time.monotonic() - start < 2
