"""W1: many executions of a chain by one batch submit, from the request until all are COMPLETED."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.graphs import chain
from benchmarks.waiting import check_completed, submit_batch, wait_until_idle

_NODES = 10
_TARGETS = {"sqlite": Target((20_000,), (50_000,)), "postgresql": Target((12_000,), (30_000,))}


def measure(bench: Bench) -> Iterator[Figure]:
    count = bench.amount(5_000, 20)
    graph_id = bench.server.store(chain(_NODES))
    _run(bench, graph_id, bench.amount(200, 5))
    rounds = [_run(bench, graph_id, count) for _ in range(bench.amount(3, 1))]
    rate = count * _NODES / statistics.median(rounds)
    yield Figure(
        f"W1: {count:,} executions of {_NODES} nodes in a batch",
        (rate,),
        "nodes/s",
        _TARGETS[bench.database.provider],
        more_is_better=True,
        notes=tuple(f"{rate / other:.3g} x {name} ({other:,.0f}/s)" for name, other in bench.baselines.items()),
    )


def _run(bench: Bench, graph_id: str, count: int) -> float:
    """Seconds for one batch."""
    with bench.server.connect() as connection:
        started = time.perf_counter()
        ids = submit_batch(connection, graph_id, count)
        wait_until_idle(bench.database)
        seconds = time.perf_counter() - started
    check_completed(bench.database, graph_id, ids, count * _NODES)
    return seconds
