"""Hourly counts of how the executions of each block's nodes end, written in the commits that end them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus

_HOUR_MS = 3_600_000
_FAILED = ExecutionStatus.FAILED.value
_COUNTED = frozenset({ExecutionStatus.COMPLETED.value, _FAILED})
#: Days for which counts are kept.
KEPT_DAYS = 35
#: Rows that one statement deletes.
_BATCH = 1_000

_ON_CONFLICT = """
ON CONFLICT ("hour","blockName","executor") DO UPDATE SET
"executions" = "BlockExecutionCount"."executions" + excluded."executions",
"failures" = "BlockExecutionCount"."failures" + excluded."failures"
"""
_ADD = f'INSERT INTO "BlockExecutionCount" VALUES (?,?,?,?,?) {_ON_CONFLICT}'
_ADD_MANY = f"""
INSERT INTO "BlockExecutionCount" ("hour","blockName","executor","executions","failures")
SELECT TIMESTAMP 'epoch' + h * INTERVAL '1 millisecond', b, e, n, f
FROM json_to_recordset(?::json) AS rows (h bigint, b text, e text, n int, f int) {_ON_CONFLICT}
"""
_BLOCKS = """
SELECT n."agentBlockName" FROM "AgentNodeExecution" x
JOIN "AgentGraphExecution" g ON g."id" = x."agentGraphExecutionId"
JOIN "AgentNode" n ON n."agentGraphId" = g."agentGraphId" AND n."agentGraphVersion" = g."agentGraphVersion"
                  AND n."id" = x."agentNodeId"
WHERE x."id" {among}
"""
_ENDED = 'SELECT "id" FROM "AgentNodeExecution" WHERE "id" {among} AND "sequence" IS NOT NULL'


class BlockCounts:
    """What one transaction adds to the counts.

    Args:
        executor: Lease that counts; "" for whoever ends nodes in an executor's place.
    """

    def __init__(self, executor: str = "") -> None:
        self._executor = executor
        self._all: Counter[tuple[int, str]] = Counter()
        self._failed: Counter[tuple[int, str]] = Counter()

    def add(self, node: NodeRow) -> None:
        """Count a row if it is an end."""
        if node.sequence is None or node.status not in _COUNTED or node.ended_ms is None:
            return
        self._count(node.ended_ms, node.block, is_failure=node.status == _FAILED)

    def add_new(self, db: Database, c: Connection, nodes: Iterable[NodeRow]) -> None:
        """Count those of the rows that are ends and are not stored yet: for a commit that may have succeeded before."""
        ends = {node.id: node for node in nodes if node.sequence is not None}
        stored = c.execute(db.sql(_ENDED.format(among=db.among)), (db.to_list(list(ends)),)).scalars()
        for id_ in ends.keys() - set(stored):
            self.add(ends[id_])

    def add_failures(self, db: Database, c: Connection, ids: list[str]) -> None:
        """Count node executions as failed that somebody else than their executor has ended now."""
        if ids:
            for name in c.execute(db.sql(_BLOCKS.format(among=db.among)), (db.to_list(ids),)).scalars():
                self._count(clock.now_ms(), name, is_failure=True)

    def write(self, db: Database, c: Connection) -> None:
        """Add what was counted to the rows, always in the same order: two commits never wait for each other."""
        rows = [
            (hour * _HOUR_MS, block, self._executor, number, self._failed[hour, block])
            for (hour, block), number in sorted(self._all.items())
        ]
        if not rows:
            return
        if db.provider == "postgresql":
            c.execute(db.sql(_ADD_MANY), (db.to_recordset("hbenf", rows),))
        else:
            c.execute(_ADD, rows)

    def _count(self, ended_ms: int, block: str, *, is_failure: bool) -> None:
        key = (ended_ms // _HOUR_MS, block)
        self._all[key] += 1
        if is_failure:
            self._failed[key] += 1


@dataclass(frozen=True, slots=True)
class BlockStats:
    """How a block's node executions ended within some hours."""

    block_name: str
    executions: int
    failures: int

    @property
    def error_rate(self) -> float:
        """Failures among all of them, from 0 to 1."""
        return self.failures / self.executions if self.executions else 0.0


def read_block_stats(db: Database, since: datetime) -> list[BlockStats]:
    """Add up the counts of whole hours, the one in which ``since`` lies included; most failures first."""
    hour = clock.from_ms(clock.to_ms(since) // _HOUR_MS * _HOUR_MS)
    text = """
SELECT "blockName", SUM("executions"), SUM("failures") FROM "BlockExecutionCount" WHERE "hour" >= ?
GROUP BY "blockName" ORDER BY SUM("failures") DESC, "blockName"
"""
    with db.read() as c:
        rows = c.execute(db.sql(text), (db.to_column(hour),)).all()
    return [BlockStats(row[0], int(row[1]), int(row[2])) for row in rows]


def prune_block_counts(db: Database, now: datetime) -> int:
    """Delete counts that are older than ``KEPT_DAYS``, in short transactions; returns how many rows went."""
    text = """
DELETE FROM "BlockExecutionCount" WHERE ("hour","blockName","executor") IN
(SELECT "hour","blockName","executor" FROM "BlockExecutionCount" WHERE "hour" < ? LIMIT ?)
"""
    before, total = db.to_column(now - timedelta(days=KEPT_DAYS)), 0
    while True:
        with db.write() as c:
            deleted = c.execute(db.sql(text), (before, _BATCH)).rowcount
        total += deleted
        if deleted < _BATCH:
            return total
