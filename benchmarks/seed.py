"""Executions that have ended long ago, as many as wanted, written by plain bulk SQL."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.model.ids import DEFAULT_USER_ID, node_execution_id

#: Executions written in one transaction.
_BATCH = 5_000
#: The time over which they are spread.
_PAST = timedelta(days=30)
_STEP = timedelta(milliseconds=1)

_EXECUTION_COLUMNS = (
    "id", "agentGraphId", "agentGraphVersion", "userId", "status", "inputs", "outputs", "stats", "attempt",
    "revision", "createdAt", "startedAt", "endedAt",
)  # fmt: skip
_NODE_COLUMNS = (
    "id", "agentGraphExecutionId", "agentNodeId", "sequence", "status", "inputData", "outputData", "attempt",
    "revision", "queuedAt", "startedAt", "endedAt",
)  # fmt: skip

Row = tuple[Any, ...]


def seed(database: Database, graph_id: str, node_ids: list[str], node_executions: int) -> None:
    """Store completed executions of a chain of calculators until there are as many node executions."""
    executions = node_executions // len(node_ids)
    begin = datetime.now(UTC) - _PAST
    dice = random.Random(0)
    for first in range(0, executions, _BATCH):
        moments = [begin + _PAST * (i / executions) for i in range(first, min(first + _BATCH, executions))]
        ids = [_id_at(moment, dice) for moment in moments]
        pairs = list(zip(ids, moments, strict=True))
        with database.write() as connection:
            _insert(
                database, connection, "AgentGraphExecution", _EXECUTION_COLUMNS, _executions(database, graph_id, pairs)
            )
            _insert(database, connection, "AgentNodeExecution", _NODE_COLUMNS, _nodes(database, node_ids, pairs))


def _executions(database: Database, graph_id: str, pairs: list[tuple[str, datetime]]) -> Iterator[Row]:
    for execution_id, moment in pairs:
        start, end = (database.to_column(moment + _STEP * i) for i in (2, 9))
        stats = '{"node_executions":10,"unconsumed":0}'
        yield (
            execution_id, graph_id, 1, DEFAULT_USER_ID, "COMPLETED", "{}", "{}", stats, 1, 4,
            database.to_column(moment), start, end,
        )  # fmt: skip


def _nodes(database: Database, node_ids: list[str], pairs: list[tuple[str, datetime]]) -> Iterator[Row]:
    for execution_id, moment in pairs:
        for i, node_id in enumerate(node_ids):
            queued, start, end = (database.to_column(moment + _STEP * (3 + step)) for step in (0, 1, 2))
            yield (
                node_execution_id(execution_id, i), execution_id, node_id, i + 1, "COMPLETED",
                f'{{"operation":"Add","b":1,"a":{i}}}', f'[["result",{i + 1}]]', 1, 3, queued, start, end,
            )  # fmt: skip


def _id_at(moment: datetime, dice: random.Random) -> str:
    """A UUIDv7 of a moment that has passed."""
    milliseconds = int(moment.timestamp() * 1000)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | dice.getrandbits(12) << 64 | 2 << 62 | dice.getrandbits(62)))


def _insert(
    database: Database, connection: Connection, table: str, columns: tuple[str, ...], rows: Iterator[Row]
) -> None:
    names = ",".join(f'"{column}"' for column in columns)
    if database.provider == "sqlite":
        marks = ",".join("?" * len(columns))
        connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(rows))
        return
    driver: Any = connection.driver_connection
    with driver.cursor() as cursor:
        # Their foreign keys are known to hold, and looking takes longer than writing.
        cursor.execute("SET LOCAL session_replication_role = replica")
        with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
