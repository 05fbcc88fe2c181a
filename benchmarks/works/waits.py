"""Many executions that only wait: none of them may keep another one from beginning."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.graphs import wait
from benchmarks.waiting import check_completed, submit_batch, wait_until_idle


def measure(bench: Bench) -> Iterator[Figure]:
    count = bench.amount(1_000, 10)
    graph_id = bench.server.store(wait(1))
    with bench.server.connect() as connection:
        began = time.perf_counter()
        ids = submit_batch(connection, graph_id, count)
        wait_until_idle(bench.database)
        seconds = time.perf_counter() - began
    check_completed(bench.database, graph_id, ids, count)
    yield Figure(f"{count:,} executions, each waiting 1 s", (seconds,), "s", Target((3,), (1.5,)))
