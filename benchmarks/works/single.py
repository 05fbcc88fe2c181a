"""W2 and W3: one execution on an idle server, from the request to the event that says COMPLETED."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target, median_and_late
from benchmarks.graphs import Document, chain, fan
from benchmarks.http_connection import HttpConnection

#: Seconds in which the server comes to rest between two executions.
_REST_SECONDS = 0.02


def measure_chains(bench: Bench) -> Iterator[Figure]:
    targets = {1: Target((5, 10), (2, 4)), 10: Target((6, 12), (3, 6))}
    for nodes, target in targets.items():
        times = median_and_late(milliseconds(bench, chain(nodes), bench.amount(200, 3)))
        yield Figure(
            f"W2: one execution of {nodes} node{'s'[: nodes - 1]}, p50 / p95", times, "ms", _wanted(bench, target)
        )


def measure_fan(bench: Bench) -> Iterator[Figure]:
    count = bench.amount(100, 2)
    median, late = median_and_late(milliseconds(bench, fan(100), count))
    busy, _ = median_and_late(milliseconds(bench, fan(100), count, rest_seconds=0))
    notes = (f"p95 {late:.3g} ms", f"one after the other, without a rest, p50 {busy:.3g} ms")
    yield Figure("W3: 1 -> 100 -> 1, p50", (median,), "ms", _wanted(bench, Target((8,), (3,))), notes=notes)


def _wanted(bench: Bench, target: Target) -> Target | None:
    """What was asked for is asked of SQLite."""
    return target if bench.database.provider == "sqlite" else None


def milliseconds(bench: Bench, graph: Document, count: int, rest_seconds: float = _REST_SECONDS) -> list[float]:
    """Execute a graph again and again on the idle server; returns the milliseconds of each."""
    graph_id = bench.server.store(graph)
    times: list[float] = []
    with bench.server.connect() as posts, bench.server.connect() as events:
        for _ in range(count // 10 + 1):
            _one(posts, events, graph_id)
        for _ in range(count):
            time.sleep(rest_seconds)
            times.append(_one(posts, events, graph_id))
    return times


def _one(posts: HttpConnection, events: HttpConnection, graph_id: str) -> float:
    """Milliseconds from submitting to hearing of the end."""
    started, ended = time.perf_counter(), None
    execution_id = posts.post(f"/api/graphs/{graph_id}/execute", {})["id"]
    for event in events.events(f"/api/executions/{execution_id}/events"):
        if event["type"] == "graph_execution" and event["execution"]["status"] == "COMPLETED":
            ended = time.perf_counter()
    if ended is None:
        raise RuntimeError(f"execution {execution_id} did not complete")
    return (ended - started) * 1000
