"""A server that stood still past its leases and goes on: others took its work over, and its late writes are refused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from postgres_server import free_port
from running_server import Server, running_server

from autogpt_server.data.file_lock import FileLock
from autogpt_server.errors import Unavailable
from tests.faults import load
from tests.faults.left_behind import assert_nothing_is_left
from tests.faults.test_deaths import Victim, crashing_environment, run_gated, victim_on

pytestmark = pytest.mark.timeout(120)


@contextlib.contextmanager
def standing_still(server: Server, url: str) -> Iterator[None]:
    """Stop all processes of a server; on SQLite while none of them writes, as nobody else could then.

    In the end its executors go on, and hear of what was refused, before those do that would end them.
    """
    main = psutil.Process(server.process.pid)
    processes = [main, *main.children(recursive=True)]
    lock = FileLock(server.data_dir / "database.db.lock")
    end = time.monotonic() + load.PATIENCE
    while True:
        for process in processes:
            process.suspend()
        if not url.startswith("file:"):
            break
        with contextlib.suppress(Unavailable), lock.hold(0.2):
            break
        for process in processes:
            process.resume()
        assert time.monotonic() < end, "somebody writes all the time"
    lock.close()
    try:
        yield
        executors = [process for process in processes if process.name() == "autogpt: Executor"]
        assert len(executors) == 4
        for process in executors:
            process.resume()
        log, end = server.data_dir / "server.log", time.monotonic() + load.PATIENCE
        while "the lease is lost" not in log.read_text():
            assert time.monotonic() < end, "nothing was refused"
            time.sleep(0.05)
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def taken_over(victim: Victim, execution_id: str) -> None:
    text = f'SELECT 1 FROM "AgentGraphExecution" WHERE "id" = \'{execution_id}\' AND "attempt" = 2'
    victim.load.until(lambda c: c.execute(text).first() is not None, "nobody takes it over")


def test_its_late_writes_are_refused_and_it_works_on(empty_url: str, tmp_path: Path) -> None:
    env = crashing_environment(tmp_path, empty_url)
    log = tmp_path / "server.log"
    with running_server(env) as first, victim_on(first, empty_url) as victim:
        execution_id, gate = run_gated(victim)
        with standing_still(first, empty_url):
            second_env = env | {"AUTOGPT_PORT": str(free_port())}
            with running_server(second_env) as second, victim_on(second, empty_url) as other:
                # Its gate is open when the first one goes on, which then believes that it has run it to its end.
                taken_over(other, execution_id)
                victim.open(gate)
                other.load.wait_for(execution_id, "COMPLETED")
                assert "the lease is lost" not in log.read_text()
        assert victim.load.call("GET", f"/executions/{execution_id}")["attempt"] == 2

        victim.load.submit(victim.chain, 20)
        victim.check()
    assert_nothing_is_left(first)
