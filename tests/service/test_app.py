from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from autogpt_server.app import PROCESSES

LIMIT = 20.0

SERVE = """
from autogpt_server.app import run_processes
processes = ["sample_processes:First", "sample_processes:Calculator"]
raise SystemExit(run_processes(processes, preload=["sample_processes"], address_of="Calculator"))
"""


def test_processes_are_run_in_sequence_and_the_address_is_printed_when_it_answers(tmp_path: Path):
    root, here = Path(__file__).parent.parent.parent, Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{here}"},
    ) as server:
        assert server.stdout
        line = server.stdout.readline().strip()
        release, address, docs, stops = line.split(" · ")
        assert release.startswith("autogpt-server")
        assert (docs, stops) == ("Swagger UI at /docs", "Ctrl-C stops")
        assert httpx.post(f"{address}/add", json={"a": 5, "b": 3}, trust_env=False).json() == 8
        server.send_signal(signal.SIGINT)
        assert server.wait(LIMIT) == 0
        assert server.stdout.read() == "cleanup First\n"


def test_the_server_starts_what_it_needs_before_what_needs_it():
    names = [spec.name for spec in PROCESSES]
    assert names == ["migrate", "QueryEngine", "AgentServer", "Scheduler", "NotificationManager", "ExecutionManager"]
    for place, spec in enumerate(PROCESSES):
        assert set(spec.after) <= set(names[:place])
