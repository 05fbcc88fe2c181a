"""One execution of very many nodes: a graph that has them, and a loop that runs two of them again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.graphs import Document, chain, loop
from benchmarks.waiting import wait_until_idle

_TARGET = Target((30,), (5,))


def measure(bench: Bench) -> Iterator[Figure]:
    largest = bench.amount(100_000, 200)
    kinds: dict[str, Callable[[int], Document]] = {"a graph of {:,} nodes": chain, "a loop of {:,} nodes": loop}
    for name, make in kinds.items():
        runs = [_run(bench, make(nodes)) for nodes in (largest // 4, largest // 2, largest)]
        quarter, half, whole = (seconds for seconds, _ in runs)
        grown = runs[2][1] - runs[1][1]
        yield Figure(
            name.format(largest),
            (whole,),
            "s",
            _TARGET,
            notes=(
                f"a half {half:.3g} s, a quarter {quarter:.3g} s",
                f"its peak above that of a half {grown / (largest / 2) / 1024:.2g} kB per node",
            ),
        )


def _run(bench: Bench, document: Document) -> tuple[float, int]:
    """Seconds for one execution, and the peak memory of the executors in bytes."""
    graph_id = bench.server.store(document)
    executors = bench.server.executor_pids
    for pid in executors:
        processes.reset_peak(pid)
    with bench.server.connect() as connection:
        began = time.perf_counter()
        execution_id = connection.post(f"/api/graphs/{graph_id}/execute", {})["id"]
        wait_until_idle(bench.database)
        seconds = time.perf_counter() - began
        execution = connection.get(f"/api/executions/{execution_id}?limit=1")
    if execution["status"] != "COMPLETED":
        raise RuntimeError(f"{document['name']}: {execution['status']}: {execution['error']}")
    return seconds, max(processes.peak_bytes(pid) for pid in executors)
