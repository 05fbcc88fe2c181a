"""Schedules: how late the last of many that are due at once is accepted, and what keeping very many costs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autogpt_server.data.database import Database
from autogpt_server.events.nudge import Topic, send_nudge
from autogpt_server.model import clock
from benchmarks import processes
from benchmarks.baselines import plain_apscheduler
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target, percentile
from benchmarks.graphs import chain
from benchmarks.http_connection import HttpConnection
from benchmarks.schedule_seed import seed_schedules
from benchmarks.server import ROOT
from benchmarks.waiting import wait_until_idle
from tests.postgres_server import free_port

_PATIENCE = 120.0
#: Jobs that APScheduler stores before: it takes milliseconds for each.
_PEER_STORED, _PEER_DUE = 2_000, 1_000


def measure(bench: Bench) -> Iterator[Figure]:
    stored = bench.amount(100_000, 200)
    graph_id = bench.server.store(chain(1))
    seed_schedules(bench.database, graph_id, stored, clock.now() + timedelta(days=30))
    peer = _peer(bench)
    kept = f"{stored:,} schedules stored"
    for count, target in ((1_000, Target((250,), (60,))), (10_000, Target((2_500,), (500,)))):
        count = bench.amount(count, count // 100)
        fired, true = _fire(bench, graph_id, count)
        notes = (kept,)
        if count <= _PEER_DUE:
            notes += (f"plain APScheduler {peer['last_ms']:,.0f} ms, and {peer['dropped']} dropped",)
        yield Figure(f"{count:,} due at once: the last execution accepted after", (fired,), "ms", target, notes=notes)
        yield Figure(f"{count:,} due at once: job rows true again after", (true,), "ms", Target((5_000,), (2_000,)))
    yield from _requests(bench, graph_id, peer)
    yield Figure("start of a scheduler to its first tick", (_start(bench),), "s", Target((5,), (1,)), notes=(kept,))
    (pid,) = [pid for pid in bench.server.pids if b": Scheduler" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    megabytes = processes.proportional_bytes([pid]) / 1_000_000
    yield Figure("memory of the scheduler (PSS)", (megabytes,), "MB", Target((200,), (100,)), notes=(kept,))


def _requests(bench: Bench, graph_id: str, peer: dict[str, Any]) -> Iterator[Figure]:
    path = f"/api/graphs/{graph_id}/schedules"
    count = bench.amount(300, 3)
    with bench.server.connect() as connection:
        add = _median(count, lambda: connection.post(path, {"cron": "17 4 * * *", "inputs": {}}))
        page = _median(count, lambda: connection.get("/api/schedules?limit=100"))
    note = (f"plain APScheduler, {_PEER_STORED:,} jobs stored: {peer['add_ms']:.3g} ms",)
    yield Figure("add a schedule, p50", (add,), "ms", Target((10,), (1,)), notes=note)
    note = (f"plain APScheduler lists all of {_PEER_STORED:,}: {peer['list_ms']:.3g} ms",)
    yield Figure("list a page of 100 schedules, p50", (page,), "ms", Target((10,), (2,)), notes=note)


def _median(count: int, call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return percentile(times, 0.5)


def _fire(bench: Bench, graph_id: str, count: int) -> tuple[float, float]:
    """Milliseconds from the due time until the last execution is stored, and until no job row says it is due."""
    db = bench.database
    due = clock.now().replace(microsecond=0) + timedelta(seconds=bench.amount(3, 2) + count / 2_000)
    first, *_, last = seed_schedules(db, graph_id, count, due)
    send_nudge(bench.run_folder, Topic.SCHEDULES)
    assert clock.now() < due - timedelta(seconds=1), "storing the schedules took too long"
    among = ' WHERE "scheduleId" >= ? AND "scheduleId" <= ?'
    accepted = _until(db, f'SELECT COUNT(*) FROM "AgentGraphExecution"{among}', (first, last), count, due)
    rows = "SELECT COUNT(*) FROM apscheduler_jobs WHERE next_run_time <= ?"
    true = _until(db, rows, (due.timestamp(),), 0, due)
    wait_until_idle(db)
    return accepted, true


def _until(db: Database, query: str, values: tuple[Any, ...], wanted: int, due: datetime) -> float:
    end = time.monotonic() + _PATIENCE
    while True:
        asked = time.monotonic()
        with db.read() as c:
            found = c.execute(db.sql(query), values).scalar_one()
        if found == wanted:
            return (clock.now() - due).total_seconds() * 1000
        if time.monotonic() > end:
            raise RuntimeError(f"{found} instead of {wanted}: {query}")
        # Counting takes time from what it waits for.
        time.sleep(max(0.002, 4 * (time.monotonic() - asked)))


def _start(bench: Bench) -> float:
    """Seconds from starting a second scheduler until it has read what is due, and says that it is well."""
    port = str(free_port())
    settings = {"AUTOGPT_DATA_DIR": str(bench.folder), "AUTOGPT_DATABASE_URL": bench.url, "PYTHONPATH": str(ROOT)}
    environment = os.environ | settings | {"EXECUTION_SCHEDULER_PORT": port, "AUTOGPT_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "autogpt_server.scheduler"]
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=bench.folder, env=environment) as process:
        try:
            while True:
                with contextlib.suppress(OSError, RuntimeError), HttpConnection(f"http://127.0.0.1:{port}") as http:
                    http.get("/health_check")
                    return time.perf_counter() - began
                if time.perf_counter() - began > _PATIENCE or process.poll() is not None:
                    raise RuntimeError("the second scheduler does not start")
                time.sleep(0.01)
        finally:
            process.terminate()


def _peer(bench: Bench) -> dict[str, Any]:
    stored, due = bench.amount(_PEER_STORED, 5), bench.amount(_PEER_DUE, 5)
    command = [sys.executable, plain_apscheduler.__file__, str(bench.folder / "apscheduler.db"), str(stored), str(due)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"plain APScheduler failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)
