"""Reading: what people look at, on a database with many rows."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target, median_and_late

_TARGET = Target((20,), (5,))


def measure(bench: Bench) -> Iterator[Figure]:
    count = bench.amount(300, 3)
    with bench.database.read() as c:
        text = 'SELECT "id" FROM "AgentGraphExecution" ORDER BY "id"'
        ids: list[str] = list(c.execute(text).scalars())
        graph_id: str = c.execute('SELECT "agentGraphId" FROM "AgentGraphExecution" LIMIT 1').scalar_one()
    dice = random.Random(0)
    with bench.server.connect() as connection:
        # From anywhere in the past: the middle of a list costs what its beginning does.
        cursor: str = connection.get(f"/api/graphs/{graph_id}/executions?limit=50")["next_cursor"]
        reads: dict[str, Callable[[], object]] = {
            "detail of an execution": lambda: connection.get(f"/api/executions/{dice.choice(ids)}"),
            "list of executions, 50 of them": lambda: connection.get("/api/executions?limit=50"),
            "list of a graph's executions, further on": lambda: connection.get(
                f"/api/graphs/{graph_id}/executions?limit=50&cursor={cursor}"
            ),
            "events of an execution, from its beginning": lambda: list(
                connection.events(f"/api/executions/{dice.choice(ids)}/events")
            ),
        }
        for name, read in reads.items():
            times: list[float] = []
            for _ in range(count):
                began = time.perf_counter()
                read()
                times.append((time.perf_counter() - began) * 1000)
            median, late = median_and_late(times)
            yield Figure(f"{name}, p95", (late,), "ms", _TARGET, notes=(f"p50 {median:.3g} ms",))
