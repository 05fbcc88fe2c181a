"""Submits batches, waits for their ends, and looks whether everything was done."""

from __future__ import annotations

import time
from collections.abc import Sequence

from autogpt_server.data.database import Database
from benchmarks.http_connection import HttpConnection

#: Seconds between two looks; each reads one row of an index.
_LOOK_SECONDS = 0.005
#: Seconds after which a batch counts as hung.
_LIMIT_SECONDS = 600

_UNFINISHED = """SELECT 1 FROM "AgentGraphExecution" WHERE "status" IN ('QUEUED','RUNNING') LIMIT 1"""
_COMPLETED = """
SELECT COUNT(*) FROM "AgentGraphExecution"
WHERE "id" >= ? AND "id" <= ? AND "agentGraphId" = ? AND "status" = 'COMPLETED'
"""
_NODES = """
SELECT COUNT(*) FROM "AgentNodeExecution" "n" JOIN "AgentGraphExecution" "e" ON "e"."id" = "n"."agentGraphExecutionId"
WHERE "n"."agentGraphExecutionId" >= ? AND "n"."agentGraphExecutionId" <= ? AND "e"."agentGraphId" = ?
AND "n"."status" = 'COMPLETED'
"""


def submit_batch(connection: HttpConnection, graph_id: str, count: int) -> list[str]:
    """Submit executions without inputs in one request and return their ids."""
    return connection.post(f"/api/graphs/{graph_id}/execute/batch", {"inputs": [{}] * count})["ids"]


def wait_until_idle(database: Database) -> None:
    """Return as soon as nothing is queued or runs.

    Raises:
        RuntimeError: That took too long.
    """
    end = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < end:
        with database.read() as connection:
            if connection.execute(_UNFINISHED).first() is None:
                return
        time.sleep(_LOOK_SECONDS)
    raise RuntimeError(f"executions still run after {_LIMIT_SECONDS} s")


def check_completed(database: Database, graph_id: str, ids: Sequence[str], node_executions: int) -> None:
    """Make sure that executions are COMPLETED with all their node executions stored.

    Raises:
        RuntimeError: They are not.
    """
    for text, wanted in ((_COMPLETED, len(ids)), (_NODES, node_executions)):
        with database.read() as connection:
            found = connection.execute(database.sql(text), (min(ids), max(ids), graph_id)).scalar_one()
        if found != wanted:
            raise RuntimeError(f"{found:,} of {wanted:,} are COMPLETED")
