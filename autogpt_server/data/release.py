"""Executions that leave their executor without having ended, and node executions that are ended in its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from autogpt_server.data.block_counts import BlockCounts
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.ends import Ends
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.jsonvalue import dumps

# What was asked for meanwhile decides where they go, and the row is the only place where that cannot be missed.
_RELEASE = """
UPDATE "AgentGraphExecution" SET "executor" = NULL, "revision" = "revision" + 1,
"status" = CASE WHEN "stopRequestedAt" IS NOT NULL THEN 'TERMINATED'
                WHEN "pauseRequestedAt" IS NOT NULL THEN 'PAUSED' ELSE 'QUEUED' END,
"endedAt" = CASE WHEN "stopRequestedAt" IS NOT NULL THEN ? ELSE "endedAt" END,
"pauseRequestedAt" = CASE WHEN "pauseRequestedAt" IS NOT NULL THEN ? ELSE "pauseRequestedAt" END
WHERE "status" = 'RUNNING' AND {which} RETURNING "id","status","revision"
"""


def release(db: Database, c: Connection, ends: Ends, which: str, values: tuple[Any, ...] = ()) -> int:
    """Take RUNNING executions from their executor: QUEUED again, or what they were asked for, PAUSED or TERMINATED.

    They keep their place in the queue.  A pause begins now, however long ago it was asked for.

    Args:
        db: Whose connection it is.
        c: Inside a transaction that is allowed to do this: of the owner, or of whoever raised its epoch.
        ends: Takes what ended by this.
        which: SQL condition that chooses them, with ``values`` for its placeholders.
        values: See ``which``.

    Returns:
        How many there were.
    """
    now = db.to_column(clock.now())
    rows = c.execute(db.sql(_RELEASE.format(which=which)), (now, now, *values)).all()
    for execution_id, status, revision in rows:
        if status == ExecutionStatus.TERMINATED:
            ends.executions[status] += 1
            end_running_nodes(db, c, ends, execution_id, ExecutionStatus.TERMINATED, None, revision)
    return len(rows)


def end_running_nodes(
    db: Database,
    c: Connection,
    ends: Ends,
    execution_id: str,
    status: ExecutionStatus,
    error: str | None,
    revision: int,
    blamed: Collection[str] | None = None,
) -> None:
    """End the node executions that an execution left RUNNING, giving them its next sequences in order of their ids.

    Where some are blamed, only they get status and error; the others are TERMINATED with the execution.  Each keeps as
    its outputs what it has streamed.
    """
    ids = c.execute(
        db.sql(
            'SELECT "id" FROM "AgentNodeExecution" '
            'WHERE "agentGraphExecutionId" = ? AND "sequence" IS NULL ORDER BY "id"'
        ),
        (execution_id,),
    ).scalars()
    last: int = c.execute(
        db.sql('SELECT COALESCE(MAX("sequence"), 0) FROM "AgentNodeExecution" WHERE "agentGraphExecutionId" = ?'),
        (execution_id,),
    ).scalar_one()
    streamed = _streamed(db, c, execution_id, ids)
    now = db.to_column(clock.now())
    rows: list[tuple[Any, ...]] = []
    failed: list[str] = []
    for i, node in enumerate(ids, start=1):
        is_blamed = blamed is None or node in blamed
        how = (status, error) if is_blamed else (ExecutionStatus.TERMINATED, None)
        ends.nodes[how[0].value] += 1
        if how[0] is ExecutionStatus.FAILED:
            failed.append(node)
        rows.append((last + i, *how, streamed.get(node), revision, now, node))
    if rows:
        c.execute(
            db.sql(
                'UPDATE "AgentNodeExecution" SET "sequence" = ?, "status" = ?, "error" = ?, '
                '"outputData" = COALESCE(?, "outputData"), "revision" = ?, "endedAt" = ? WHERE "id" = ?'
            ),
            rows,
        )
    counts = BlockCounts()
    counts.add_failures(db, c, failed)
    counts.write(db, c)


def _streamed(db: Database, c: Connection, execution_id: str, ids: Sequence[str]) -> dict[str, str]:
    """Read what node executions have streamed, as the column of their outputs holds it; those without are left out."""
    if not ids:
        return {}
    text = f"""
SELECT "agentNodeExecutionId","pin","value" FROM "AgentNodeOutput"
WHERE "agentGraphExecutionId" = ? AND "agentNodeExecutionId" {db.among} ORDER BY "number"
"""
    found: dict[str, list[str]] = {}
    for node, pin, value in c.execute(db.sql(text), (execution_id, db.to_list(ids))):
        found.setdefault(node, []).append(f"[{dumps(pin)},{value}]")
    return {node: f"[{','.join(pairs)}]" for node, pairs in found.items()}
