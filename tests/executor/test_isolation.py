"""Blocks that misbehave in every way: their node ends FAILED with the reason, others finish, and nothing is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autogpt_server.data.database import Database
from autogpt_server.executor.confinement import COOKIE
from autogpt_server.model.execution import ExecutionStatus
from tests import heavy_blocks
from tests.executor.test_manager import Managed
from tests.make_graph import node_id
from tests.make_settings import make_settings
from tests.odd_blocks import ALL

pytestmark = pytest.mark.timeout(120)

MEMORY_MB, CHILDREN = 400, 20


@pytest.fixture(scope="module")
def sqlite_managed(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Managed]:
    """One pool for all cases, with limits that are soon reached."""
    folder = tmp_path_factory.mktemp("isolation")
    (folder / "database.db").write_bytes(sqlite_template.read_bytes())
    yield from _managed(folder, f"file:{folder}/database.db")


def _managed(folder: Path, url: str) -> Iterator[Managed]:
    settings = make_settings(folder, url).model_copy(
        update={
            "blocks": tuple(f"{ALL},{BAD},{heavy_blocks.ALL}".split(",")),
            "executor_processes": 2,
            "executor_lease_seconds": 1.0,
            "drain_seconds": 0.0,
            "max_deaths": 2,
            "executor_memory_mb": MEMORY_MB,
            "executor_max_children": CHILDREN,
        }
    )
    database = Database.from_settings(settings)
    with Managed(settings, database) as managed:
        yield managed
    database.close()


BAD = ",".join(
    f"tests.bad_blocks:{name}"
    for name in ("LeakingBlock", "AbsurdBlock", "ForkingBlock", "SpawningBlock", "GigabyteBlock", "RawGigabyteBlock",
                 "SegfaultBlock", "HangingBlock", "DaemonBlock", "EscapingBlock")
)  # fmt: skip


def run_beside(managed: Managed, block: str) -> tuple[str, str]:
    """Execute a misbehaving block while others wait in both executors; returns its error and its id."""
    # They wait without any code of theirs running, so that no accident makes one of them a suspect.
    waiting = managed.store({"wait": ("WaitBlock", {"seconds": 1.5})})
    neighbours = [managed.add(waiting) for _ in range(6)]
    managed.until(lambda: all(managed.executions.node_executions(n, limit=1).items for n in neighbours))
    bad = managed.ended(managed.add(managed.store({"bad": (block, {})})))
    assert {managed.ended(n).status for n in neighbours} == {ExecutionStatus.COMPLETED}
    nodes = managed.executions.node_executions(bad.id, limit=10).items
    assert [(n.node_id, n.status) for n in nodes] == [(node_id("bad"), bad.status)]
    assert bad.status is ExecutionStatus.FAILED, bad.error
    return bad.error or "", bad.id


def wait_until_clean(managed: Managed) -> None:
    """Wait until no process of a dead executor is left, and no folder."""

    def is_clean() -> bool:
        living = set(managed.client.executor_pids())
        folders = {int(f.name.removeprefix("executor-")) for f in managed.settings.run_dir.glob("executor-*[0-9]")}
        return all(psutil.pid_exists(pid) for pid in folders) and not orphans(living)

    managed.until(is_clean, 15)


def orphans(living: set[int]) -> list[int]:
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            owner = process.environ().get(COOKIE)
            is_ours = process.pid in living or process.cmdline()[:1] == ["autogpt: SideProcess"]
            if owner is not None and not is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("LeakingBlock", "memory"),
        ("AbsurdBlock", f"ran out of memory; an executor process may use {MEMORY_MB} MB"),
        ("ForkingBlock", f"more than {CHILDREN} processes"),
        ("SpawningBlock", f"more than {CHILDREN} processes"),
        ("SegfaultBlock", "signal 11 (SIGSEGV): a segmentation fault"),
        ("ExitingBlock", "it ended itself with exit code 7"),
        ("HangingBlock", "its loop hangs"),
    ],
)
def test_only_the_guilty_fails(sqlite_managed: Managed, block: str, reason: str) -> None:
    error, _ = run_beside(sqlite_managed, block)
    assert reason in error
    wait_until_clean(sqlite_managed)


@pytest.mark.parametrize("block", ["GigabyteBlock", "RawGigabyteBlock"])
def test_a_gigabyte_of_output_is_bounded_and_delays_nobody(sqlite_managed: Managed, block: str) -> None:
    execution = sqlite_managed.ended(sqlite_managed.add(sqlite_managed.store({"loud": (block, {})})))
    assert execution.status is ExecutionStatus.COMPLETED
    (node,) = sqlite_managed.executions.node_executions(execution.id, limit=1).items
    assert sum(len(line.text) for line in node.logs) <= sqlite_managed.settings.max_node_log_bytes
    if block == "GigabyteBlock":
        assert "more characters were left out" in node.logs[-1].text


def test_what_a_block_leaves_running_ends_with_its_executor(sqlite_managed: Managed) -> None:
    managed = sqlite_managed
    execution = managed.ended(managed.add(managed.store({"daemon": ("DaemonBlock", {})})))
    assert execution.status is ExecutionStatus.COMPLETED, execution.error
    (node,) = managed.executions.node_executions(execution.id, limit=1).items
    executor, *daemons = (value for _, value in node.output_data)
    assert all(psutil.pid_exists(pid) for pid in daemons)
    temporary = managed.settings.run_dir / f"executor-{executor}" / "tmp"
    assert [file.name for file in temporary.iterdir()] != []

    os.kill(executor, 9)

    end = time.monotonic() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in daemons):
        assert time.monotonic() < end
        time.sleep(0.05)
    managed.until(lambda: not temporary.exists())
    wait_until_clean(managed)


def test_what_a_block_leaves_running_keeps_no_other_from_starting_a_process(sqlite_managed: Managed) -> None:
    managed = sqlite_managed
    error, _ = run_beside(managed, "EscapingBlock")
    assert error.endswith(
        f"more than {CHILDREN} processes at the same time, the limit of AUTOGPT_EXECUTOR_MAX_CHILDREN"
    )
    escaped = [int(file.name) for file in (managed.folder / "escaped").iterdir()]
    # Without a word of ours: their executor is replaced, and they end with it.
    managed.until(lambda: not any(map(is_alive, escaped)), 15)
    wait_until_clean(managed)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_process_beside_an_executor_dies_with_it(sqlite_managed: Managed) -> None:
    managed = sqlite_managed
    execution_id = managed.add(managed.store({"spin": ("SpinningBlock", {"seconds": 3})}))
    spinning = managed.folder / "spinning"
    (file,) = managed.until(lambda: list(spinning.glob("*.*[0-9]")))
    beside = int(file.read_text())
    with managed.database.read() as c:
        owner = 'SELECT "pid" FROM "Executor" JOIN "AgentGraphExecution" e ON e."executor" = "Executor"."id"'
        executor = c.execute(f"{owner} WHERE e.\"id\" = '{execution_id}'").scalar_one()
    os.kill(executor, 9)
    managed.until(lambda: not psutil.pid_exists(beside) or psutil.Process(beside).status() == psutil.STATUS_ZOMBIE, 5)
    assert managed.ended(execution_id).status is ExecutionStatus.COMPLETED
    wait_until_clean(managed)


def test_suspects_run_alone_on_postgresql_too(postgresql_url: str, tmp_path: Path) -> None:
    for managed in _managed(tmp_path, postgresql_url):
        error, _ = run_beside(managed, "SegfaultBlock")
        assert "a segmentation fault" in error
        wait_until_clean(managed)
