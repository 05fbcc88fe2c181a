"""The server that is measured: real processes in a folder of their own, on a database with many rows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.graphs import Document
from benchmarks.http_connection import HttpConnection

ROOT = Path(__file__).parent.parent

#: Seconds that it may take to stop.
_STOP_SECONDS = 60
#: So that the graphs of 100,000 nodes are let in; every other setting keeps its default.
_RAISED_LIMITS = {
    "AUTOGPT_MAX_NODES": "200000",
    "AUTOGPT_MAX_LINKS": "200000",
    "AUTOGPT_MAX_NODE_EXECUTIONS": "200000",
    "AUTOGPT_MAX_BODY_BYTES": str(256 * 1024 * 1024),
}


class Server:
    """A running server."""

    def __init__(self, address: str, pid: int) -> None:
        self.address, self.pid = address, pid

    def connect(self) -> HttpConnection:
        return HttpConnection(self.address)

    def store(self, graph: Document) -> str:
        """Save a graph under a new id and return that."""
        with self.connect() as connection:
            return connection.post("/api/graphs", graph)["id"]

    @property
    def pids(self) -> list[int]:
        return processes.tree(self.pid)

    @property
    def executor_pids(self) -> list[int]:
        """Processes that run blocks: those that call themselves so."""
        return [pid for pid in self.pids if b": Executor" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def running_server(folder: Path, database_url: str) -> Generator[Server]:
    """Run a server for a ``with`` block.  It is tied to this process: when that is killed, it stops by itself.

    Settings come from the environment as for every server, apart from where it listens and keeps its data.
    """
    environment = (
        os.environ
        | _RAISED_LIMITS
        | {
            "AUTOGPT_DATA_DIR": str(folder),
            "AUTOGPT_DATABASE_URL": database_url,
            "AUTOGPT_PORT": "0",
            "AUTOGPT_EXECUTION_MANAGER_PORT": "0",
            "AUTOGPT_EXECUTION_SCHEDULER_PORT": "0",
            "AUTOGPT_NOTIFICATION_PORT": "0",
            "AUTOGPT_LOG_LEVEL": "warning",
            "PYTHONPATH": str(ROOT),
        }
    )
    log = folder / "server.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "autogpt_server.cli.tied_server"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:
        assert process.stdout is not None
        address = re.search(rb"http://\S+", process.stdout.readline())
        try:
            if address is None:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-4000:]}")
            yield Server(address[0].decode(), process.pid)
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
