"""Whole servers for tests: real processes, talked to over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.cli.client import ServerClient
from autogpt_server.cli.follow import follow

ROOT = Path(__file__).parents[1]

#: Seconds that a server may take to answer, and to stop.
START_LIMIT, STOP_LIMIT = 60, 30


def environment(data_dir: Path, database_url: str, **changes: str) -> dict[str, str]:
    """The environment of a process that shall use a folder and a database of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AUTOGPT_") and k != "DATABASE_URL"}
    return inherited | {
        "AUTOGPT_DATA_DIR": str(data_dir),
        "DATABASE_URL": database_url,
        "AUTOGPT_PORT": "0",
        "AUTOGPT_EXECUTION_MANAGER_PORT": "0",
        "AUTOGPT_EXECUTION_SCHEDULER_PORT": "0",
        "AUTOGPT_NOTIFICATION_PORT": "0",
        "AUTOGPT_EXECUTOR_PROCESSES": "2",
        "PYTHONPATH": str(ROOT),
        **changes,
    }


class Server:
    """A running server and what a client does with it."""

    def __init__(self, url: str, env: dict[str, str], process: subprocess.Popen[bytes]) -> None:
        self.url, self.env, self.process = url, env, process
        self.client = ServerClient(url)

    @property
    def data_dir(self) -> Path:
        return Path(self.env["AUTOGPT_DATA_DIR"])

    def store(self, document: Any, **query: str) -> dict[str, Any]:
        return self.client.post("/graphs", document, **query)

    def submit(self, graph_id: str, inputs: dict[str, Any]) -> str:
        return self.client.post(f"/graphs/{graph_id}/execute", inputs)["id"]

    def wait(self, execution_id: str) -> dict[str, Any]:
        """Wait until an execution has ended, and return it."""
        return follow(self.client, execution_id, quiet=True)

    def execute(self, document: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        """Store a graph, execute it and wait for its end."""
        return self.wait(self.submit(self.store(document)["id"], inputs))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.client.close()
        self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT)


@contextmanager
def running_server(env: dict[str, str]) -> Iterator[Server]:
    """Start a server, wait until it says that it is ready, and stop it in the end.

    It is tied to this process: when the tests are killed, it stops by itself.
    """
    log = Path(env["AUTOGPT_DATA_DIR"]) / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "autogpt_server.cli.tied_server"],
            env=env,
            cwd=log.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        address = re.search(rb"http://\S+", process.stdout.readline())
        if address is None:
            pytest.fail(f"the server did not start:\n{log.read_text()[-4000:]}")
        server = Server(address[0].decode(), env, process)
        try:
            yield server
        finally:
            if process.poll() is None:
                server.stop()
