"""Processes that stand still: they are told by name, killed and replaced, and nothing that was accepted is lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
import psutil
import pytest
from postgres_server import free_port
from running_server import Server, environment, running_server

from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.faults import load
from tests.faults.checker import Checker
from tests.faults.load import Load

T = TypeVar("T")

pytestmark = pytest.mark.timeout(180)

#: Seconds in which anything here comes about.
LIMIT = 80.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all, which notices soon what stands still."""
    env = environment(
        tmp_path_factory.mktemp("standstill"),
        "file:database.db",
        AUTOGPT_BLOCKS=load.BLOCKS,
        AUTOGPT_EXECUTOR_LEASE_SECONDS="2",
        AUTOGPT_PROCESS_STALL_SECONDS="8",
        # A port that stays the same when the process behind it is replaced.
        AUTOGPT_PORT=str(free_port()),
    )
    with running_server(env) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Load]:
    with contextlib.closing(Load(server.url, "file:database.db", server.data_dir)) as client:
        yield client


def until(condition: Callable[[], T], what: str) -> T:
    end = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return value


def find(server: Server, name: str) -> list[psutil.Process]:
    """The processes of the server that have a name."""
    found: list[psutil.Process] = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] == [f"autogpt: {name}"]:
                found.append(process)
    return found


def freeze(server: Server, name: str) -> int:
    """Stop a process as a debugger does; returns its id."""
    pid = until(lambda: find(server, name), f"no {name} runs")[0].pid
    os.kill(pid, signal.SIGSTOP)
    return pid


def health(server: Server) -> tuple[int, list[str]]:
    """The status and the problems."""
    answer = httpx.get(f"{server.url}/api/health", timeout=10)
    return answer.status_code, answer.json()["problems"]


def is_well(server: Server) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return health(server) == (200, [])
    return False


def logged(server: Server, pattern: str) -> bool:
    return re.search(pattern, (server.data_dir / "server.log").read_text()) is not None


def test_the_log_says_why_the_pool_killed_an_executor_that_stood_still(server: Server, client: Load) -> None:
    client.submit(client.store(load.chain()), 5)
    client.wait_for_all()
    pid = freeze(server, "Executor")
    until(lambda: logged(server, rf"Executor {pid} has ended"), "the executor is not replaced")
    assert logged(server, rf"Executor {pid} has ended: it did not answer for 2 s; its loop hangs")


def test_a_manager_that_stands_still_is_told_and_replaced_and_what_runs_ends_well(server: Server, client: Load) -> None:
    until(lambda: is_well(server), "the server is not well")
    running = client.submit(client.store(load.waiting()), 20)
    client.submit(client.store(load.gated("opened-later")), 2)
    pid = freeze(server, "ExecutionManager")
    told = until(lambda: next((told for told in [health(server)] if told[0] == 503), None), "health does not tell")
    assert f"ExecutionManager {pid} has stood still for" in told[1][0]
    # Executors do not need it to go on.
    client.submit(client.store(load.chain()), 5)
    for execution_id in running:
        client.wait_for(execution_id, "COMPLETED")
    until(
        lambda: logged(server, rf"ExecutionManager \({pid}\) has stood still for 8 s; killing it"), "it is not killed"
    )
    until(lambda: is_well(server), "the server does not become well again")
    assert pid not in {one.pid for one in find(server, "ExecutionManager")}
    server.client.post(f"/graphs/{client.store(load.chain())}/execute", {})
    (folder := server.data_dir / "files" / DEFAULT_USER_ID).mkdir(parents=True, exist_ok=True)
    (folder / "opened-later").write_text("")
    client.wait_for_all()
    with client.database.read() as c:
        assert Checker(c).problems(client.accepted) == []
        assert c.execute('SELECT MAX("deaths") FROM "AgentGraphExecution"').scalar() == 0


@pytest.mark.parametrize("name", ["QueryEngine", "AgentServer"])
def test_every_service_that_stands_still_is_replaced(server: Server, name: str) -> None:
    until(lambda: is_well(server), "the server is not well")
    pid = freeze(server, name)
    if name != "AgentServer":
        told = until(lambda: next((told for told in [health(server)] if told[0] == 503), None), "health does not tell")
        assert told[1][0].startswith(f"{name} {pid} has stood still for")
    until(lambda: logged(server, rf"{name} \({pid}\) has stood still for 8 s; killing it"), "it is not killed")
    until(lambda: is_well(server), "the server does not become well again")
    assert pid not in {one.pid for one in find(server, name)}


def test_a_fork_server_that_stands_still_is_replaced_as_soon_as_a_process_is_missing(
    server: Server, client: Load
) -> None:
    until(lambda: is_well(server), "the server is not well")
    client.submit(client.store(load.waiting()), 20)
    (manager,) = find(server, "ExecutionManager")
    fork_server = manager.ppid()
    os.kill(fork_server, signal.SIGSTOP)
    find(server, "Executor")[0].kill()
    until(lambda: logged(server, "the fork server has stood still for 5 s and was killed"), "nobody notices")
    until(lambda: logged(server, "The fork server died; starting all processes again"), "it is not replaced")
    until(lambda: is_well(server), "the server does not become well again")
    assert not psutil.pid_exists(fork_server)
    client.wait_for_all()
    with client.database.read() as c:
        assert Checker(c).problems(client.accepted) == []


def test_who_waits_for_a_locked_database_does_not_stand_still(server: Server, client: Load) -> None:
    until(lambda: is_well(server), "the server is not well")
    pid = find(server, "ExecutionManager")[0].pid
    with client.database.write():
        until(lambda: health(server)[0] == 503, "health does not tell that no executor can beat")
        # Longer than a process may stand still, while the manager wants to know whether it could write.
        time.sleep(10)
    until(lambda: is_well(server), "the server does not become well again")
    assert [one.pid for one in find(server, "ExecutionManager")] == [pid]
    client.submit(client.store(load.chain()), 5)
    client.wait_for_all()


def test_a_server_that_was_frozen_as_a_whole_goes_on_with_the_same_processes(server: Server) -> None:
    until(lambda: is_well(server), "the server is not well")
    names = ("AgentServer", "ExecutionManager", "QueryEngine", "Scheduler")
    before = {name: [one.pid for one in find(server, name)] for name in names}
    family = [psutil.Process(server.process.pid), *(one for name in names for one in find(server, name))]
    for one in family:
        one.suspend()
    # As long as a machine sleeps: there is nothing to wait for.
    time.sleep(10)
    for one in family:
        one.resume()
    until(lambda: is_well(server), "the server does not become well again")
    assert {name: [one.pid for one in find(server, name)] for name in names} == before
    assert not any(logged(server, rf"\({pids[0]}\) has stood still") for pids in before.values())


def test_a_manager_that_stands_still_does_not_hold_up_the_end_of_the_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("ending")
    with running_server(environment(folder, "file:database.db", AUTOGPT_PROCESS_STALL_SECONDS="3")) as server:
        freeze(server, "ExecutionManager")
        assert server.stop() == 0
