"""How fast executions run through the public way in, beside bare SQLite writes of the same rows.

    .venv/bin/python benchmarks/executions.py [executions]

Starts a server of its own on SQLite (WAL, synchronous=FULL) in a temporary folder, posts a chain of ten nodes, and
measures

- many: one batch over HTTP, from the request to the last execution COMPLETED;
- one: single executions on the idle server, from the request to the final event received.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from autogpt_server.data import sqlite
from autogpt_server.data.database import Database
from autogpt_server.data.urls import parse_database_url

ROOT = Path(__file__).parent.parent
NODES = 10


def chain(length: int) -> dict[str, object]:
    """A chain of calculators, each adding one; its input is pin ``a`` of the first."""
    ids = [f"00000000-0000-4000-8000-{i:012d}" for i in range(length)]
    nodes = [{"id": i, "block_name": "CalculatorBlock", "input_default": {"operation": "Add", "b": 1}} for i in ids]
    links = [
        {"source_id": a, "source_name": "result", "sink_id": b, "sink_name": "a"}
        for a, b in zip(ids, ids[1:], strict=False)
    ]
    nodes[0]["input_default"] = {"operation": "Add", "a": 0, "b": 1}
    return {"name": f"chain of {length}", "nodes": nodes, "links": links}


def many(client: httpx.Client, database: Database, graph_id: str, count: int) -> float:
    """Seconds from submitting a batch to the last of it COMPLETED."""
    start = time.perf_counter()
    for first in range(0, count, 10_000):
        inputs = [{} for _ in range(min(10_000, count - first))]
        client.post(f"/api/graphs/{graph_id}/execute/batch", json={"inputs": inputs}).raise_for_status()
    while True:
        with database.read() as c:
            text = 'SELECT COUNT(*) FROM "AgentGraphExecution" WHERE "status" = ? AND "agentGraphId" = ?'
            done = c.exec_driver_sql(text, ("COMPLETED", graph_id)).scalar_one()
        if done >= count:
            return time.perf_counter() - start
        time.sleep(0.01)


def one(client: httpx.Client, graph_id: str) -> float:
    """Milliseconds from submitting one execution to its final event."""
    start = time.perf_counter()
    execution_id = client.post(f"/api/graphs/{graph_id}/execute", json={}).raise_for_status().json()["id"]
    with client.stream("GET", f"/api/executions/{execution_id}/events") as events:
        for _ in events.iter_lines():
            pass
    return (time.perf_counter() - start) * 1000


def bare_rows_per_second(folder: Path, rows: int) -> float:
    """Rows of the same size that this machine writes to SQLite, 500 in a transaction, with nothing around them."""
    c = sqlite.connect(folder / "bare.db", sqlite.load_driver())
    c.execute(
        "CREATE TABLE row (id TEXT PRIMARY KEY, execution TEXT, node TEXT, sequence INT, input TEXT, output TEXT)"
    )
    values = [
        (f"{i:036d}.{i % 10}", f"{i:036d}", f"{i:036d}", i, '{"a":1,"b":1}', '[["result",2]]') for i in range(rows)
    ]
    start = time.perf_counter()
    for first in range(0, rows, 500):
        c.execute("BEGIN IMMEDIATE")
        c.executemany("INSERT INTO row VALUES (?,?,?,?,?,?)", values[first : first + 500])
        c.execute("COMMIT")
    return rows / (time.perf_counter() - start)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        environment = os.environ | {
            "AUTOGPT_DATA_DIR": name,
            "DATABASE_URL": "file:database.db",
            "AUTOGPT_PORT": "0",
            "AUTOGPT_EXECUTION_MANAGER_PORT": "0",
            "AUTOGPT_LOG_LEVEL": "warning",
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "autogpt_server.app"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = next(m[0] for line in server.stdout if (m := re.search(r"http://[\d.]+:\d+", line)))
            report(folder, address, count)
        finally:
            server.terminate()
            server.wait(30)


def report(folder: Path, address: str, count: int) -> None:
    database = Database(parse_database_url("file:database.db", folder))
    with httpx.Client(base_url=address, timeout=60) as client:
        graphs = {n: client.post("/api/graphs", json=chain(n)).raise_for_status().json()["id"] for n in (1, NODES)}
        many(client, database, graphs[1], 50)
        seconds = many(client, database, graphs[NODES], count)
        single = {n: sorted(one(client, graph) for _ in range(100)) for n, graph in graphs.items()}
    database.close()
    rate, bare = count * NODES / seconds, bare_rows_per_second(folder, count * NODES)
    table = Table("work", "result")
    table.add_row(f"{count:,} executions of {NODES} nodes in one batch", f"{rate:,.0f} node executions/s")
    table.add_row("bare SQLite, the same rows", f"{bare:,.0f} rows/s (ratio {rate / bare:.3f})")
    for n, times in single.items():
        median, late = statistics.median(times), times[94]
        table.add_row(f"one execution of {n} node(s), idle server", f"p50 {median:.1f} ms, p95 {late:.1f} ms")
    Console().print(table)


if __name__ == "__main__":
    main()
