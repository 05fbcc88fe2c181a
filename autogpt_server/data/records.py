"""What an executor records: starts and ends of nodes, and the end of the execution, in its group commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from autogpt_server.data.database import Database
from autogpt_server.data.leases import Lease, Leases
from autogpt_server.data.release import end_running_nodes
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.service.crash_points import crash_point


@dataclass(slots=True)
class NodeRow:
    """A node execution as it is written.  ``inputs`` and ``outputs`` are JSON text; times are aware UTC."""

    id: str
    node_id: str
    status: ExecutionStatus
    inputs: str
    attempt: int
    queued_at: datetime
    started_at: datetime
    sequence: int | None = None
    outputs: str | None = None
    error: str | None = None
    ended_at: datetime | None = None


@dataclass(slots=True)
class Ending:
    """How a graph execution ended.  ``outputs`` and ``stats`` are JSON text."""

    status: ExecutionStatus
    outputs: str
    stats: str
    error: str | None


@dataclass(slots=True)
class Record:
    """Everything of one execution that waits to become durable."""

    execution_id: str
    attempt: int
    nodes: list[NodeRow] = field(default_factory=list[NodeRow])
    ending: Ending | None = None


_TOUCH = """
UPDATE "AgentGraphExecution" SET "revision" = "revision" + 1
WHERE "id" = ? AND "status" = 'RUNNING' AND "executor" = ? AND "attempt" = ? RETURNING "revision"
"""

_END = """
UPDATE "AgentGraphExecution" SET "revision" = "revision" + 1, "status" = ?, "outputs" = ?, "stats" = ?, "error" = ?,
"endedAt" = ? WHERE "id" = ? AND "status" = 'RUNNING' AND "executor" = ? AND "attempt" = ? RETURNING "revision"
"""

_NODE = """
INSERT INTO "AgentNodeExecution"
("id","agentGraphExecutionId","agentNodeId","sequence","status","inputData","outputData","error","attempt","revision",
 "queuedAt","startedAt","endedAt") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT ("id") DO UPDATE SET "sequence" = excluded."sequence", "status" = excluded."status",
"inputData" = excluded."inputData", "outputData" = excluded."outputData", "error" = excluded."error",
"attempt" = excluded."attempt", "revision" = excluded."revision", "queuedAt" = excluded."queuedAt",
"startedAt" = excluded."startedAt", "endedAt" = excluded."endedAt"
"""


def recorder(database: Database, lease: Lease) -> Callable[[Connection, list[Record]], list[bool]]:
    """Make the function that an executor's group commit writes with.

    It answers per record whether it was written.  False means that the execution is no longer this executor's
    (another took it over, or it was ended): none of its rows were written, and its run is to be dropped.
    """
    leases = Leases(database)

    def write(connection: Connection, records: list[Record]) -> list[bool]:
        leases.bump(connection, lease)
        revisions: list[int | None] = []
        rows: list[tuple[Any, ...]] = []
        for record in records:
            revision = _advance(database, connection, lease, record)
            revisions.append(revision)
            if revision is not None:
                rows += [_columns(database, record, node, revision) for node in record.nodes]
        if rows:
            connection.exec_driver_sql(database.sql(_NODE), rows)
        for record, revision in zip(records, revisions, strict=True):
            end = record.ending
            if revision is not None and end is not None and end.status is not ExecutionStatus.COMPLETED:
                end_running_nodes(database, connection, record.execution_id, end.status, end.error, revision)
        crash_point("record.written")
        if any(record.ending is not None for record in records):
            crash_point("end.written")
        return [revision is not None for revision in revisions]

    return write


def _advance(db: Database, c: Connection, lease: Lease, record: Record) -> int | None:
    """Move the execution on under the fence; None when it is not ours any more."""
    fence = (record.execution_id, lease.id, record.attempt)
    if record.ending is None:
        return c.exec_driver_sql(db.sql(_TOUCH), fence).scalar_one_or_none()
    end = record.ending
    now = db.to_column(datetime.now(UTC))
    revision = c.exec_driver_sql(
        db.sql(_END), (end.status, end.outputs, end.stats, end.error, now, *fence)
    ).scalar_one_or_none()
    if revision is not None:
        return revision
    # A commit whose answer was lost is written again: our own end is then already there.
    return c.exec_driver_sql(
        db.sql(
            'SELECT "revision" FROM "AgentGraphExecution" '
            'WHERE "id" = ? AND "executor" = ? AND "attempt" = ? AND "status" = ?'
        ),
        (*fence, end.status),
    ).scalar_one_or_none()


def _columns(db: Database, record: Record, node: NodeRow, revision: int) -> tuple[Any, ...]:
    return (
        node.id,
        record.execution_id,
        node.node_id,
        node.sequence,
        node.status,
        node.inputs,
        node.outputs,
        node.error,
        node.attempt,
        revision,
        db.to_column(node.queued_at),
        db.to_column(node.started_at),
        db.to_column(node.ended_at),
    )
