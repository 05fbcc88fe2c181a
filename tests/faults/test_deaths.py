"""Every named place where a process may die: it dies there by SIGKILL under load, and nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from postgres_server import free_port
from running_server import Server, environment, running_server

from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.service.crash_points import POINTS
from tests.faults import load
from tests.faults.checker import Checker
from tests.faults.left_behind import assert_nothing_is_left, processes
from tests.faults.load import Load

pytestmark = pytest.mark.timeout(120)


@dataclass
class Victim:
    """A server that is being killed, and the graphs it executes."""

    server: Server
    load: Load
    chain: str
    stream: str
    calling: str

    @property
    def points(self) -> Path:
        return points_dir(self.server)

    def arm(self, point: str, how: str = "kill") -> None:
        # Renamed: a process that passes must not see it half written.
        draft = self.points / f"draft-{uuid.uuid4()}"
        draft.write_text(how)
        draft.rename(self.points / f"{point}.1")

    def wait_until_taken(self, point: str) -> list[int]:
        """Wait until somebody has passed; returns the process ids."""
        end = time.monotonic() + load.PATIENCE
        while not (taken := list(self.points.glob(f"{point}.1.*"))):
            assert time.monotonic() < end, f"nobody passed {point}"
            time.sleep(0.01)
        for file in taken:
            file.unlink()
        return [int(file.suffix[1:]) for file in taken]

    def open(self, gate: str) -> None:
        folder = self.server.data_dir / "files" / DEFAULT_USER_ID
        folder.mkdir(parents=True, exist_ok=True)
        (folder / gate).write_text("")

    def kill_executor(self, where: str = "1=1") -> None:
        with self.load.database.read() as c:
            pid = c.execute(f'SELECT "pid" FROM "Executor" WHERE "epoch" = 1 AND {where}').scalar()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def check(self) -> None:
        self.load.wait_for_all()
        with self.load.database.read() as c:
            assert Checker(c).problems(self.load.accepted) == []


def points_dir(server: Server) -> Path:
    return Path(server.env["AUTOGPT_CRASH_POINTS_DIR"])


def crashing_environment(folder: Path, url: str) -> dict[str, str]:
    points = folder / "points"
    points.mkdir(parents=True, exist_ok=True)
    return environment(
        folder,
        url,
        AUTOGPT_BLOCKS=load.BLOCKS,
        AUTOGPT_CRASH_POINTS_DIR=str(points),
        # Several, because a place whose processes die soon is filled again later and later.
        AUTOGPT_EXECUTOR_PROCESSES="4",
        AUTOGPT_EXECUTOR_LEASE_SECONDS="2",
        AUTOGPT_DRAIN_SECONDS="1",
        # A port that stays the same when the process behind it is replaced.
        AUTOGPT_PORT=str(free_port()),
    )


@contextlib.contextmanager
def victim_on(server: Server, url: str) -> Iterator[Victim]:
    client = Load(server.url, url, server.data_dir)
    try:
        chain, stream = client.store(load.chain()), client.store(load.stream())
        yield Victim(server, client, chain, stream, client.store(load.calling(chain)))
    finally:
        client.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield "file:database.db"
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield url


@pytest.fixture(scope="module")
def victim(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One server for all places that a running server passes."""
    with running_server(crashing_environment(tmp_path_factory.mktemp("victim"), url)) as server:
        with victim_on(server, url) as victim:
            yield victim
        assert_nothing_is_left(server)
    assert_nothing_is_left(server)


def submit(victim: Victim) -> None:
    for graph_id in (victim.chain, victim.stream, victim.calling):
        victim.load.submit(graph_id, 2)


def run_gated(victim: Victim) -> tuple[str, str]:
    """Start an execution that runs until its gate opens; returns its id and the gate."""
    gate = f"gate-{uuid.uuid4()}"
    (execution_id,) = victim.load.submit(victim.load.store(load.gated(gate)))
    started = f'SELECT 1 FROM "AgentNodeExecution" WHERE "agentGraphExecutionId" = \'{execution_id}\''
    victim.load.until(lambda c: c.execute(started).first() is not None, "the gate's node does not start")
    return execution_id, gate


def stop_one(victim: Victim, point: str) -> None:
    execution_id, gate = run_gated(victim)
    victim.arm(point)
    victim.load.call("POST", f"/executions/{execution_id}/stop")
    victim.wait_until_taken(point)
    victim.load.wait_for(execution_id, "TERMINATED")
    victim.open(gate)


def pause_one(victim: Victim, point: str) -> None:
    execution_id, gate = run_gated(victim)
    victim.arm(point)
    victim.load.call("POST", f"/executions/{execution_id}/pause")
    time.sleep(0.2)  # that it is heard of before the gate opens is usual, and not needed
    victim.open(gate)
    victim.wait_until_taken(point)
    end = time.monotonic() + load.PATIENCE
    while victim.load.call("GET", f"/executions/{execution_id}")["status"] != "COMPLETED":
        assert time.monotonic() < end
        # It may be COMPLETED meanwhile, which is refused.
        victim.load.once("POST", f"/executions/{execution_id}/resume")
        time.sleep(0.05)


def replace_executor(victim: Victim, point: str) -> None:
    victim.arm(point)
    submit(victim)
    victim.kill_executor()
    victim.wait_until_taken(point)


def rescue(victim: Victim, point: str) -> None:
    execution_id, gate = run_gated(victim)
    victim.arm(point)
    owner = f'"id" = (SELECT "executor" FROM "AgentGraphExecution" WHERE "id" = \'{execution_id}\')'
    victim.kill_executor(owner)
    victim.wait_until_taken(point)
    victim.open(gate)
    victim.load.wait_for(execution_id, "COMPLETED")


def store_graph(victim: Victim, point: str) -> None:
    victim.arm(point)
    victim.load.submit(victim.load.store(load.chain()))
    victim.wait_until_taken(point)


def submit_under(victim: Victim, point: str, how: str = "kill") -> list[int]:
    victim.arm(point, how)
    submit(victim)
    return victim.wait_until_taken(point)


def hand_over(victim: Victim, point: str) -> None:
    """Submit one after the other, to executors that have nothing to do, until one was handed over."""
    victim.load.wait_for_all()
    victim.arm(point)
    end = time.monotonic() + load.PATIENCE
    while not list(victim.points.glob(f"{point}.1.*")):
        assert time.monotonic() < end, "nothing is handed over"
        victim.load.submit_alone(victim.chain)
        victim.load.wait_for_all()
    victim.wait_until_taken(point)


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + load.PATIENCE
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, f"process {pid} lives on"
        time.sleep(0.05)


Work = Callable[[Victim, str], object]

#: What makes a running server pass each place.
PASSED_BY: dict[str, Work] = {
    "process.entered": replace_executor,
    "accept.written": submit_under,
    "handover.written": hand_over,
    "handover.heard": hand_over,
    "accept.committed": submit_under,
    "answer.ready": submit_under,
    "stop.written": stop_one,
    "stop.committed": stop_one,
    "lease.written": replace_executor,
    "lease.committed": replace_executor,
    "claim.written": submit_under,
    "claim.committed": submit_under,
    "node.opened": submit_under,
    "node.recorded": submit_under,
    "node.ran": submit_under,
    "stream.taken": submit_under,
    "stream.recorded": submit_under,
    "record.written": submit_under,
    "record.committed": submit_under,
    "end.decided": submit_under,
    "end.written": submit_under,
    "end.committed": submit_under,
    "hand_back.written": pause_one,
    "hand_back.committed": pause_one,
    "death.seen": rescue,
    "rescue.fenced": rescue,
    "rescue.written": rescue,
    "rescue.committed": rescue,
    "engine.written": store_graph,
    "engine.committed": store_graph,
}
#: Passed while a server starts, and while it stops.
AT_START = ("migration.applied", "migration.committed")
AT_STOP = ("lease.end_written", "lease.end_committed")
#: Passed by whoever makes and fires schedules; see test_schedule_deaths.py.
OF_SCHEDULES = (
    "schedule.written",
    "schedule.committed",
    "slots.written",
    "slots.accepted",
    "slots.committed",
    "advance.written",
    "advance.committed",
)
#: Passed by who tells users, and by who restores a backup; see test_other_deaths.py.
OF_OTHERS = (
    *("message.claimed", "message.sent", "restore.emptied", "restore.filled", "restore.written"),
    *("keys.added", "keys.renewed", "keys.dropped", "oauth.refreshed"),
)


def test_every_place_is_tested() -> None:
    assert sorted([*PASSED_BY, *AT_START, *AT_STOP, *OF_SCHEDULES, *OF_OTHERS]) == sorted(POINTS)


@pytest.mark.parametrize("point", PASSED_BY)
def test_a_process_dies(victim: Victim, point: str) -> None:
    PASSED_BY[point](victim, point)
    victim.check()


@pytest.mark.parametrize("point", ["node.ran", "record.written"])
def test_an_executor_stands_still(victim: Victim, point: str) -> None:
    """Also in the middle of a transaction, which on SQLite keeps everybody else from writing."""
    victim.arm(point, "stop")
    for graph_id in (victim.chain, victim.stream, victim.calling):
        # Who submits meanwhile waits until the process is killed, and need not try again.
        answer = victim.load.http.post(f"/graphs/{graph_id}/execute", json={}, timeout=load.PATIENCE)
        assert answer.status_code == 202, answer.text
    (pid,) = victim.wait_until_taken(point)
    victim.check()
    wait_until_gone(pid)


def test_an_executor_stands_still_with_the_lock_while_another_one_dies(victim: Victim) -> None:
    """Giving back what the dead one ran waits for the lock, and must not keep the other from being killed."""
    victim.arm("record.written", "stop")
    with ThreadPoolExecutor() as pool:
        waiting = [
            # Sooner than a writer gives up waiting for another one.
            pool.submit(victim.load.http.post, f"/graphs/{graph_id}/execute", json={}, timeout=25)
            for graph_id in (victim.chain, victim.stream, victim.calling)
        ]
        (pid,) = victim.wait_until_taken("record.written")
        executors = [one for one in processes(victim.server.data_dir) if one.name() == "autogpt: Executor"]
        next(one for one in executors if one.pid != pid).kill()
        assert [one.result().status_code for one in waiting] == [202, 202, 202]
    victim.check()
    wait_until_gone(pid)


@pytest.mark.parametrize("point", ["claim.committed", "accept.committed", "node.ran"])
def test_the_fork_server_dies(victim: Victim, point: str) -> None:
    (pid,) = submit_under(victim, point, "kill-parent")
    wait_until_gone(pid)
    victim.check()
    # All processes are there again.
    victim.load.call("GET", "/health")


def test_migrations_die(empty_url: str, tmp_path: Path) -> None:
    env = crashing_environment(tmp_path, empty_url)
    for point in AT_START:
        (tmp_path / "points" / f"{point}.1").write_text("kill")
    with running_server(env) as server, victim_on(server, empty_url) as victim:
        for point in AT_START:
            victim.wait_until_taken(point)
        submit(victim)
        victim.check()


# One kind of database is enough: these are the deaths of whole servers, and no lock of a file outlives those.
@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_the_main_process_dies_and_executors_die_while_the_server_stops(empty_url: str, tmp_path: Path) -> None:
    env = crashing_environment(tmp_path, empty_url)
    accepted: list[str] = []
    gates: list[str] = []
    # One executor dies at each place where it gives its lease back; there are several.
    for points, how in (((), signal.SIGKILL), (AT_STOP, signal.SIGTERM)):
        with running_server(env) as server, victim_on(server, empty_url) as victim:
            victim.load.submit(victim.chain, 50)
            gates.append(run_gated(victim)[1])
            accepted += victim.load.accepted
            assert len(processes(server.data_dir)) > 4
            for point in points:
                victim.arm(point)
            server.stop(how)
            for point in points:
                victim.wait_until_taken(point)
            psutil.wait_procs(processes(server.data_dir), timeout=10)
            assert processes(server.data_dir) == []
    with running_server(env) as server, victim_on(server, empty_url) as victim:
        victim.load.accepted += accepted
        for gate in gates:
            victim.open(gate)
        victim.check()
    assert_nothing_is_left(server)
