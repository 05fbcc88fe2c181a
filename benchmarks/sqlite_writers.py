"""Writers of one SQLite file: two that commit 500 rows at a time beside one with small writes, first with the file
lock that every Python writer takes, then with nothing but SQLite's own busy handler.

    .venv/bin/python -m benchmarks.sqlite_writers [seconds per mode]
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import quantiles

from autogpt_server.data.database import Database
from autogpt_server.data.urls import parse_database_url
from autogpt_server.model.ids import new_id

BATCH, COMMITTERS = 500, 2
#: Seconds between two small writes.
GAP = 0.002
#: Seconds that the processes get to start.
START_SECONDS = 3
NODE = "INSERT INTO nodes VALUES (?,?,?,?,?,?,?)"
Result = tuple[str, int, list[float]]


def open_database(path: Path, mode: str) -> Database:
    database = Database(parse_database_url(f"file:{path}", path.parent))
    if mode == "busy handler":
        writer = database._writer  # pyright: ignore[reportPrivateUsage]
        assert writer is not None
        writer.lock.hold = lambda seconds: contextlib.nullcontext()  # type: ignore[method-assign]
        # One thread, hence one connection in the pool: this replaces our handler on it.
        with database.read() as c:
            c.execute("PRAGMA busy_timeout = 30000")
    return database


def commit_batches(path: Path, mode: str, begin: float, seconds: float, results: Queue[Result]) -> None:
    database, rows, waits = open_database(path, mode), 0, list[float]()
    time.sleep(max(0.0, begin - time.time()))
    while time.time() < begin + seconds:
        execution = new_id()
        batch = [(new_id(), execution, i, "COMPLETED", '{"a": 1, "b": 2}', '[["result", 3]]', 1) for i in range(BATCH)]
        start = time.perf_counter()
        with database.write() as c:
            c.execute(NODE, batch)
        waits.append(time.perf_counter() - start)
        rows += BATCH
    results.put(("batches", rows, waits))


def write_little(path: Path, mode: str, begin: float, seconds: float, results: Queue[Result]) -> None:
    database, waits = open_database(path, mode), list[float]()
    time.sleep(max(0.0, begin - time.time()))
    while time.time() < begin + seconds:
        time.sleep(GAP)
        start = time.perf_counter()
        with database.write() as c:
            c.execute("INSERT INTO executions VALUES (?, 'QUEUED')", (new_id(),))
        waits.append(time.perf_counter() - start)
    results.put(("small", len(waits), waits))


def measure(mode: str, seconds: float) -> tuple[float, float]:
    """Run one mode; gives rows per second and the 99th percentile of a small write in milliseconds."""
    spawn = multiprocessing.get_context("spawn")
    results: Queue[Result] = spawn.Queue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.db"
        database = open_database(path, "file lock")
        with database.write() as c:
            c.execute(
                "CREATE TABLE nodes (id TEXT PRIMARY KEY NOT NULL, execution TEXT, sequence INT, status TEXT, "
                "inputs TEXT, outputs TEXT, attempt INT, UNIQUE (execution, sequence))"
            )
            c.execute("CREATE TABLE executions (id TEXT PRIMARY KEY NOT NULL, status TEXT)")
        begin = time.time() + START_SECONDS
        targets = [commit_batches] * COMMITTERS + [write_little]
        processes = [spawn.Process(target=target, args=(path, mode, begin, seconds, results)) for target in targets]
        for process in processes:
            process.start()
        answers = [results.get() for _ in processes]
        for process in processes:
            process.join()
        database.close()
    rows = sum(count for kind, count, _ in answers if kind == "batches") / seconds
    [waits] = [waits for kind, _, waits in answers if kind == "small"]
    cuts = [cut * 1000 for cut in quantiles(waits, n=100, method="inclusive")]
    print(
        f"{mode:12s}  {rows:8.0f} rows/s in batches   small writes: {len(waits) / seconds:5.0f}/s, "
        f"median {cuts[49]:6.1f} ms, 99th percentile {cuts[98]:7.1f} ms, longest {max(waits) * 1000:7.1f} ms"
    )
    return rows, cuts[98]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    locked_rows, locked_wait = measure("file lock", seconds)
    busy_rows, busy_wait = measure("busy handler", seconds)
    print(
        f"with the lock: {locked_rows / busy_rows:.2f} times the rows, "
        f"{busy_wait / locked_wait:.1f} times shorter 99th percentile of a small write"
    )


if __name__ == "__main__":
    main()
