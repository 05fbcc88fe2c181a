"""What a server costs that nobody uses."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target

#: Seconds for the server to come to rest after its start.
_REST_SECONDS = 3.0


def measure(bench: Bench) -> Iterator[Figure]:
    seconds = bench.amount(60, 1)
    time.sleep(_REST_SECONDS if not bench.quick else 0.1)
    pids = bench.server.pids
    before, began = processes.cpu_seconds(pids), time.perf_counter()
    time.sleep(seconds)
    share = (processes.cpu_seconds(pids) - before) / (time.perf_counter() - began) * 100
    megabytes = processes.proportional_bytes(pids) / 1_000_000
    yield Figure(f"memory of all {len(pids)} processes, idle (PSS)", (megabytes,), "MB", Target((400,), (250,)))
    yield Figure(f"processor of all processes, idle for {seconds} s", (share,), "% of a core", Target((2,), (0.5,)))
