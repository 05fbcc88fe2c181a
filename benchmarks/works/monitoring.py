"""The reports of the system's tasks, and why something does not run, on a database with many rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta

from autogpt_server.data.block_counts import read_block_stats
from autogpt_server.model import clock
from autogpt_server.model.ids import least_id
from autogpt_server.monitoring.block_errors import report_block_error_rates
from autogpt_server.monitoring.drift import report_drift
from autogpt_server.monitoring.late_executions import report_late_executions
from autogpt_server.settings import Settings
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target, median_and_late, timed

_TARGET = Target((50,), (10,))
#: Five weeks of counts: blocks, and executors.
_HOURS, _BLOCKS, _EXECUTORS = 35 * 24, 30, 2
# What would have to be asked without the counts.
_SCAN = """
SELECT n."agentBlockName", COUNT(*), SUM(CASE WHEN x."status" = 'FAILED' THEN 1 ELSE 0 END)
FROM "AgentNodeExecution" x JOIN "AgentGraphExecution" g ON g."id" = x."agentGraphExecutionId"
JOIN "AgentNode" n ON n."agentGraphId" = g."agentGraphId" AND n."agentGraphVersion" = g."agentGraphVersion"
                  AND n."id" = x."agentNodeId"
WHERE g."id" >= ? GROUP BY n."agentBlockName"
"""


def measure(bench: Bench) -> Iterator[Figure]:
    database, settings = bench.database, Settings(data_dir=bench.folder)
    _add_counts(bench)
    with database.read() as c:
        ids: list[str] = list(c.execute('SELECT "id" FROM "AgentGraphExecution" ORDER BY "id"').scalars())
    dice = random.Random(0)
    with bench.server.connect() as connection:
        works: dict[str, Callable[[], object]] = {
            "report of late executions": lambda: report_late_executions(settings, database),
            "report of block error rates": lambda: report_block_error_rates(settings, database),
            "report of schedules that fall behind": lambda: report_drift(database),
            "why an execution does not run": lambda: connection.get(f"/api/executions/{dice.choice(ids)}/why"),
            "how blocks ended within a day": lambda: connection.get("/api/block-stats?hours=24"),
        }
        for name, work in works.items():
            median, late = median_and_late(timed(work, bench.amount(200, 3)))
            yield Figure(f"{name}, p95", (late,), "ms", _TARGET, notes=(f"p50 {median:.3g} ms",))
    since = clock.now() - timedelta(days=1)
    counted, _ = median_and_late(timed(lambda: read_block_stats(database, since), bench.amount(20, 1)))

    def scan() -> object:
        with database.read() as c:
            return c.execute(database.sql(_SCAN), (least_id(0),)).all()

    scanned, _ = median_and_late(timed(scan, bench.amount(3, 1)))
    note = f"{scanned / counted:,.0f} x quicker than from the rows ({scanned:,.0f} ms)"
    yield Figure("error rates of a day from the counts, p50", (counted,), "ms", notes=(note,))


def _add_counts(bench: Bench) -> None:
    database = bench.database
    hour = clock.to_ms(clock.now()) // 3_600_000
    rows = [
        (database.to_column(clock.from_ms((hour - h) * 3_600_000)), f"Block{b}", f"executor-{e}", 100, b % 7)
        for h in range(bench.amount(_HOURS, 24))
        for b in range(_BLOCKS)
        for e in range(_EXECUTORS)
    ]
    with database.write() as c:
        c.execute(database.sql('INSERT INTO "BlockExecutionCount" VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING'), rows)
