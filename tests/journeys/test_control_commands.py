"""Executions controlled from the command line: paused, resumed, stopped, run again, each as a person would."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running_server import Server

from tests.journeys.test_run_command import LIMIT, command, graph

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server(sqlite_server: Server) -> Server:
    """What the command line does is the same on every database."""
    return sqlite_server


@pytest.fixture
def cli(server: Server, tmp_path: Path) -> Cli:
    env = server.env | {"COLUMNS": "200"}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        arguments += ("--url", server.url)
        return subprocess.run(command(*arguments), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)

    return run


def waiting(seconds: float) -> dict:
    return graph(
        "Waits",
        ("WaitBlock", {"seconds": seconds, "input_message": "done"}),
        ("AgentOutputBlock", {"name": "message"}),
        links=((0, "output_message", 1, "value"),),
    )


def until(server: Server, execution_id: str, status: str) -> None:
    end = time.monotonic() + 20
    while server.client.get(f"/executions/{execution_id}", limit=1)["status"] != status:
        assert time.monotonic() < end, status
        time.sleep(0.02)


def test_an_execution_is_paused_resumed_and_run_again(cli: Cli, server: Server, tmp_path: Path) -> None:
    # Long enough for a command to start on a busy machine.
    (tmp_path / "graph.json").write_text(json.dumps(waiting(8)))
    execution_id = cli("run", "graph.json", "--priority", "5", "--key", "once").stdout.strip()
    until(server, execution_id, "RUNNING")

    assert cli("execution", "pause", execution_id).stdout == "It will pause once its running nodes have ended.\n"
    assert cli("run", "graph.json", "--priority", "5", "--key", "once").stdout.strip() == execution_id
    until(server, execution_id, "PAUSED")
    assert cli("execution", "pause", execution_id).stdout == "It is PAUSED.\n"
    assert cli("execution", "resume", execution_id).stdout in ("It is QUEUED.\n", "It is RUNNING.\n")
    until(server, execution_id, "COMPLETED")
    execution = server.client.get(f"/executions/{execution_id}")
    assert execution["priority"] == 5

    last = execution["node_executions"]["items"][-1]["node_id"]
    again = cli("execution", "rerun", execution_id, "--from", last, "--follow", "--json")
    assert again.returncode == 0, again.stderr
    rerun = json.loads(again.stdout)
    assert (rerun["rerun_of_id"], rerun["outputs"]) == (execution_id, {"message": ["done"]})

    refused = cli("execution", "resume", execution_id)
    assert refused.returncode == 2
    assert "is COMPLETED and cannot be resumed" in refused.stderr


def test_what_cannot_be_run_again_is_refused_by_name(cli: Cli, server: Server) -> None:
    execution_id = server.submit(server.store(waiting(0))["id"], {})
    until(server, execution_id, "COMPLETED")
    refused = cli("execution", "rerun", execution_id, "--from", "no-such-node")
    assert refused.returncode == 2
    assert "no-such-node" in refused.stderr
    stopped = server.submit(server.store(waiting(60))["id"], {})
    until(server, stopped, "RUNNING")
    # An executor may be quicker than the answer.
    assert cli("execution", "stop", stopped).stdout in ("It will stop in a moment.\n", "It is TERMINATED.\n")
    until(server, stopped, "TERMINATED")
    plain = cli("execution", "rerun", stopped)
    assert plain.returncode == 0
    assert cli("execution", "stop", plain.stdout.strip()).returncode == 0
