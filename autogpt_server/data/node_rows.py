"""Rows of AgentNodeExecution, written many at a time: this is what most of a busy database's work consists of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database


@dataclass(slots=True)
class NodeRow:
    """A node execution as it is written.  ``inputs``, ``outputs`` and ``logs`` are JSON text."""

    id: str
    node_id: str
    #: The value of an ExecutionStatus.
    status: str
    inputs: str
    attempt: int
    #: Milliseconds since 1970, like the two other times.
    queued_ms: int
    started_ms: int
    sequence: int | None = None
    outputs: str | None = None
    error: str | None = None
    ended_ms: int | None = None
    #: Runs by the node's retry policy, this one included, over all attempts.
    tries: int = 1
    logs: str | None = None
    #: Name of its block, for the counts of ends; of a row that is no end, nothing.
    block: str = ""


_COLUMNS = (
    '"id","agentGraphExecutionId","agentNodeId","sequence","status","inputData","outputData","error","attempt",'
    '"tries","logs","revision","queuedAt","startedAt","endedAt"'
)
_WIDTH = 15
_ON_CONFLICT = """
ON CONFLICT ("id") DO UPDATE SET "sequence" = excluded."sequence", "status" = excluded."status",
"inputData" = excluded."inputData", "outputData" = excluded."outputData", "error" = excluded."error",
"attempt" = excluded."attempt", "tries" = excluded."tries", "logs" = excluded."logs",
"revision" = excluded."revision", "queuedAt" = excluded."queuedAt", "startedAt" = excluded."startedAt",
"endedAt" = excluded."endedAt"
"""

#: Rows of one statement on SQLite, the largest that fit first.  Few sizes, so that all stay prepared.
_SIZES = (64, 8, 1)

#: Names of the columns in the JSON that PostgreSQL takes rows apart from, in the order of ``_COLUMNS``.
_KEYS = ("i", "x", "n", "s", "t", "d", "o", "e", "a", "r", "l", "v", "q", "b", "f")
# One statement for any number of rows, and a twelfth of the processor time that arrays cost the driver.
_FROM_JSON = f"""
INSERT INTO "AgentNodeExecution" ({_COLUMNS})
SELECT i, x, n, s, t, d, o, e, a, r, l, v, TIMESTAMP 'epoch' + q * INTERVAL '1 millisecond',
       TIMESTAMP 'epoch' + b * INTERVAL '1 millisecond', TIMESTAMP 'epoch' + f * INTERVAL '1 millisecond'
FROM json_to_recordset(?::json) AS rows (i text, x text, n text, s int, t text, d text, o text, e text, a int, r int,
                                         l text, v int, q bigint, b bigint, f bigint)
{_ON_CONFLICT}"""

Columns = tuple[Any, ...]


def columns(execution_id: str, row: NodeRow, revision: int) -> Columns:
    """Put a row into the order in which ``write_node_rows`` takes it."""
    return (
        row.id,
        execution_id,
        row.node_id,
        row.sequence,
        row.status,
        row.inputs,
        row.outputs,
        row.error,
        row.attempt,
        row.tries,
        row.logs,
        revision,
        row.queued_ms,
        row.started_ms,
        row.ended_ms,
    )


def write_node_rows(db: Database, c: Connection, rows: list[Columns]) -> None:
    """Insert rows, or replace those that are there.  No two of them may have the same id."""
    if not rows:
        return
    if db.provider == "postgresql":
        c.execute(db.sql(_FROM_JSON), (db.to_recordset(_KEYS, rows),))
        return
    start = 0
    for size in _SIZES:
        text = _insert(size)
        while len(rows) - start >= size:
            c.execute(text, tuple(chain.from_iterable(rows[start : start + size])))
            start += size


@lru_cache(maxsize=len(_SIZES))
def _insert(size: int) -> str:
    marks = f"({','.join('?' * _WIDTH)})"
    return f'INSERT INTO "AgentNodeExecution" ({_COLUMNS}) VALUES {",".join([marks] * size)}{_ON_CONFLICT}'
