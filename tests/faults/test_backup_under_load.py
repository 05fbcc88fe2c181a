"""A backup of a server that is busy, and its restore while the server is busy with something else."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from running_server import ROOT, environment, running_server

from tests.faults import load
from tests.faults.checker import Checker
from tests.faults.left_behind import assert_nothing_is_left
from tests.faults.load import Load
from tests.faults.test_deaths import victim_on

pytestmark = pytest.mark.timeout(150)


class Busy:
    """Submits executions until the end of its ``with`` block."""

    def __init__(self, url: str, database_url: str, data_dir: Path, graph_ids: list[str]) -> None:
        self._load, self._graph_ids = Load(url, database_url, data_dir), graph_ids
        self._stop, self.submitted = threading.Event(), threading.Event()
        self.failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Busy:
        self._thread.start()
        assert self.submitted.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._load.close()
        assert self.failed == []

    def _run(self) -> None:
        try:
            # Not all that it could take: everything is checked in the end.
            while not self._stop.wait(0.2):
                for graph_id in self._graph_ids:
                    self._load.submit(graph_id, 5)
                self.submitted.set()
        except BaseException as error:
            self.failed.append(error)


# Where many write at the same time; on SQLite they take turns.
@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_what_is_restored_keeps_all_promises(empty_url: str, tmp_path: Path) -> None:
    env = environment(tmp_path, empty_url, AUTOGPT_BLOCKS=load.BLOCKS)
    file = tmp_path / "copy.backup"

    def command(*words: str) -> None:
        arguments = [sys.executable, "-m", "autogpt_server.cli.main", *words, str(file)]
        done = subprocess.run(arguments, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    with running_server(env) as server, victim_on(server, empty_url) as victim:
        graphs = [victim.chain, victim.stream, victim.calling]
        with Busy(server.url, empty_url, server.data_dir, graphs):
            command("backup")
        victim.load.wait_for_all()
        assert victim.load.once("GET", "/health") is not None
        later = victim.load.submit(victim.chain, 5)
        victim.load.wait_for_all()

        with Busy(server.url, empty_url, server.data_dir, graphs):
            command("restore", "--yes", "--resume-executions")
        victim.load.wait_for_all()

        with victim.load.database.read() as c:
            assert Checker(c).problems() == []
            count = c.execute('SELECT COUNT(*) FROM "AgentGraphExecution"').scalar_one()
            # What came after the backup is gone.
            among = ",".join(f"'{id_}'" for id_ in later)
            found = c.execute(f'SELECT COUNT(*) FROM "AgentGraphExecution" WHERE "id" IN ({among})').scalar_one()
        assert count >= 30
        assert found == 0
        # And the server works on.
        ids = victim.load.submit(victim.chain, 10)
        victim.load.wait_for_all()
        with victim.load.database.read() as c:
            assert Checker(c).problems(ids) == []
    assert_nothing_is_left(server)
