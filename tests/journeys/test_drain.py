"""A server that is told to stop lets short executions end, hands the rest back, and takes nothing new meanwhile."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from running_server import ROOT, STOP_LIMIT, Server
from test_restart import slow_graph

from autogpt_server.data.database import Database
from tests.make_settings import make_settings

Start = Callable[..., AbstractContextManager[Server]]

#: A column that only the newer release knows.
_MIGRATION = 'ALTER TABLE "AgentGraphExecution" ADD COLUMN "newerRelease" INTEGER NOT NULL DEFAULT 0;\n'


def wait_for_status(server: Server, execution_id: str, status: str) -> dict[str, Any]:
    end = time.monotonic() + 20
    while True:
        execution = server.client.get(f"/executions/{execution_id}")
        if execution["status"] == status:
            return execution
        assert time.monotonic() < end, execution
        time.sleep(0.02)


def refusal(server: Server, graph_id: str) -> httpx.Response:
    """Submit until the server refuses; before that the signal has not arrived."""
    end = time.monotonic() + 20
    while True:
        answer = httpx.post(f"{server.url}/api/graphs/{graph_id}/execute", json={"number": 1})
        if answer.status_code != 202:
            return answer
        assert time.monotonic() < end


def stored(url: str, data_dir: Path, execution_id: str) -> tuple[Any, ...]:
    """Status, executor and attempt of an execution, read from its row."""
    database = Database.from_settings(make_settings(data_dir, url))
    try:
        with database.read() as c:
            text = 'SELECT "status","executor","attempt" FROM "AgentGraphExecution" WHERE "id" = ?'
            return tuple(c.execute(database.sql(text), (execution_id,)).one())
    finally:
        database.close()


def test_short_executions_end_long_ones_are_handed_back_and_new_ones_refused(
    start_server: Start, tmp_path: Path, empty_url: str
) -> None:
    with start_server(tmp_path, empty_url, AUTOGPT_DRAIN_SECONDS="2") as server:
        # given a short and a long execution that run
        short_graph = server.store(slow_graph(0.6), new_ids="true")["id"]
        long_graph = server.store(slow_graph(600), new_ids="true")["id"]
        long = server.submit(long_graph, {"number": 1})
        wait_for_status(server, long, "RUNNING")
        short = server.submit(short_graph, {"number": 1})
        wait_for_status(server, short, "RUNNING")

        # when
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)

        # then it takes no more, and says for how long
        answer = refusal(server, short_graph)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
        assert "stopping" in answer.json()["detail"]
        health = httpx.get(f"{server.url}/api/health")
        assert health.status_code == 503
        assert "stopping" in health.json()["problems"][0]
        # and who waits for the end of what runs sees it
        assert server.wait(short)["outputs"] == {"number": [2]}

        # and it ends in time, in order
        assert server.process.wait(STOP_LIMIT) == 0
        server.client.close()
        assert time.monotonic() - began < 2 + 8
        assert stored(empty_url, tmp_path, long) == ("QUEUED", None, 1)


def newer_release(folder: Path) -> Path:
    """Make a copy of this release with one migration more, and return where it is imported from."""
    shutil.copytree(ROOT / "autogpt_server", folder / "autogpt_server", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "migrations", folder / "migrations")
    for other in ROOT.iterdir():
        if not (folder / other.name).exists():
            (folder / other.name).symlink_to(other)
    # It shares this environment, which is set up already, and must not set it up for another folder.
    command = folder / "autogpt_server" / "cli" / "tied_server.py"
    command.write_text(command.read_text().replace("import main", "import run_processes as main"))
    for provider in ("sqlite", "postgresql"):
        migration = folder / "migrations" / provider / "29990101000000_newer_release"
        migration.mkdir()
        (migration / "migration.sql").write_text(_MIGRATION)
    return folder


def free_ports(number: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_a_newer_release_starts_and_claims_while_the_old_one_drains(
    start_server: Start, tmp_path: Path, empty_url: str
) -> None:
    (tmp_path / "newer").mkdir()
    newer = newer_release(tmp_path / "newer")
    old_port, new_port = free_ports(2)
    data = tmp_path / "data"
    with start_server(data, empty_url, AUTOGPT_PORT=old_port, AUTOGPT_DRAIN_SECONDS="16") as old:
        # given executions that the old release runs
        # Long enough for a start beside much other work, and over before the drain is.
        graph = old.store(slow_graph(6), new_ids="true")["id"]
        running = old.submit(graph, {"number": 1})
        long = old.submit(old.store(slow_graph(600), new_ids="true")["id"], {"number": 1})
        wait_for_status(old, running, "RUNNING")
        wait_for_status(old, long, "RUNNING")

        # when it is told to stop, and a newer release starts on the same data
        old.process.send_signal(signal.SIGTERM)
        assert refusal(old, graph).status_code == 503
        settings = {"AUTOGPT_PORT": new_port, "AUTOGPT_DRAIN_SECONDS": "0", "PYTHONPATH": str(newer)}
        with start_server(data, empty_url, **settings) as new:
            # then the new one has migrated and takes work, while the old one still runs its own
            assert old.process.poll() is None
            number = new.execute(slow_graph(0.01) | {"id": "c2000000-0000-4000-8000-000000000000"}, {"number": 5})
            assert number["outputs"] == {"number": [6]}
            assert old.client.get(f"/executions/{running}")["status"] == "RUNNING"
            # and sees it end, run by the old one, once
            ended = new.wait(running)
            assert (ended["status"], ended["attempt"], ended["outputs"]) == ("COMPLETED", 1, {"number": [2]})
            assert old.process.wait(STOP_LIMIT) == 0
            old.client.close()
            # and takes over what the old one could not end
            end = time.monotonic() + 20
            while (found := new.client.get(f"/executions/{long}"))["attempt"] != 2:
                assert time.monotonic() < end, found
                time.sleep(0.02)
            assert found["status"] == "RUNNING"
            new.client.post(f"/executions/{long}/stop", {})
            assert wait_for_status(new, long, "TERMINATED")["attempt"] == 2
            assert new.client.get("/health")["status"] == "ok"
            migrated = Database.from_settings(make_settings(data, empty_url))
            with migrated.read() as c:
                assert c.execute('SELECT SUM("newerRelease") FROM "AgentGraphExecution"').scalar_one() == 0
            migrated.close()
