"""The execution queue.  It is the AgentGraphExecution table: what is QUEUED there is queued, and nothing else.

Accepting, claiming, handing back and stopping.  Every status change carries the statuses it may come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from autogpt_server.data.database import Database
from autogpt_server.data.leases import Lease, Leases, end_running_nodes
from autogpt_server.errors import ConflictError, ExecutionNotFound
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.service.crash_points import crash_point


@dataclass(frozen=True, slots=True)
class NewExecution:
    """An execution to be accepted.  ``inputs`` is JSON text."""

    id: str
    graph_id: str
    graph_version: int
    user_id: str
    inputs: str
    idempotency_key: str | None = None
    parent_execution_id: str | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """An execution that is now RUNNING under the claimer's lease."""

    id: str
    graph_id: str
    graph_version: int
    user_id: str
    inputs: dict[str, Any]
    attempt: int
    depth: int


_ACCEPT = """
INSERT INTO "AgentGraphExecution"
("id","agentGraphId","agentGraphVersion","userId","status","inputs","idempotencyKey","parentExecutionId","depth",
 "attempt","deaths","revision","createdAt")
VALUES (?,?,?,?,'QUEUED',?,?,?,?,0,0,1,?) ON CONFLICT DO NOTHING
"""

# Materialized: PostgreSQL would otherwise be free to look for the oldest again for every row.
_CLAIM = """
WITH "due" AS MATERIALIZED (
  SELECT "id" FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND {which} ORDER BY "id" LIMIT ?{skip_locked})
UPDATE "AgentGraphExecution" SET "status" = 'RUNNING', "executor" = ?, "attempt" = "attempt" + 1,
"revision" = "revision" + 1, "startedAt" = COALESCE("startedAt", ?)
WHERE "status" = 'QUEUED' AND "id" IN (SELECT "id" FROM "due")
RETURNING "id","agentGraphId","agentGraphVersion","userId","inputs","attempt","depth"
"""


class ExecutionQueue:
    """The class over the table.  Every method is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._leases = Leases(database)

    def accept(
        self, connection: Connection, batches: list[list[NewExecution]]
    ) -> list[list[tuple[str, ExecutionStatus]]]:
        """Store executions as QUEUED, inside a group commit.  Safe to repeat.

        An execution whose user already used its idempotency key is not stored again: the answer names the
        first one with its present status.

        Raises:
            ConflictError: The key was used for another graph or other inputs.
        """
        now = self._db.to_column(datetime.now(UTC))
        rows = [
            (
                e.id,
                e.graph_id,
                e.graph_version,
                e.user_id,
                e.inputs,
                e.idempotency_key,
                e.parent_execution_id,
                e.depth,
                now,
            )
            for batch in batches
            for e in batch
        ]
        connection.exec_driver_sql(self._db.sql(_ACCEPT), rows)
        crash_point("accept.written")
        return [
            [self._stored(connection, e) if e.idempotency_key else (e.id, ExecutionStatus.QUEUED) for e in batch]
            for batch in batches
        ]

    def _stored(self, connection: Connection, new: NewExecution) -> tuple[str, ExecutionStatus]:
        row = connection.exec_driver_sql(
            self._db.sql(
                'SELECT "id","status","agentGraphId","inputs" FROM "AgentGraphExecution" '
                'WHERE "userId" = ? AND "idempotencyKey" = ?'
            ),
            (new.user_id, new.idempotency_key),
        ).one()
        if row[0] != new.id and (row[2] != new.graph_id or row[3] != new.inputs):
            raise ConflictError(
                f"The idempotency key {new.idempotency_key!r} was used with another graph or other inputs, "
                f"for execution {row[0]}."
            )
        return row[0], ExecutionStatus(row[1])

    def claim(self, lease: Lease, limit: int, *, suspects: bool = False) -> list[Claimed]:
        """Move the oldest queued executions to RUNNING under a lease, each with its attempt raised by one.

        Two claimers never receive the same execution.  Returns at once, with an empty list when nothing waits.

        Args:
            lease: The claimer's.
            limit: How many at most.
            suspects: Claim only those during which an executor process died; otherwise only the others.

        Raises:
            LeaseLost: The claimer has been given up by an observer.
        """
        which = '"deaths" > 0' if suspects else '"deaths" = 0'
        with self._db.read() as c:
            # A look without the write lock: most calls find nothing.
            if (
                c.exec_driver_sql(
                    f'SELECT 1 FROM "AgentGraphExecution" WHERE "status" = \'QUEUED\' AND {which} LIMIT 1'
                ).first()
                is None
            ):
                return []
        skip_locked = " FOR UPDATE SKIP LOCKED" if self._db.provider == "postgresql" else ""
        statement = self._db.sql(_CLAIM.format(which=which, skip_locked=skip_locked))
        with self._db.write() as c:
            self._leases.bump(c, lease)
            rows = c.exec_driver_sql(statement, (limit, lease.id, self._db.to_column(datetime.now(UTC)))).all()
            crash_point("claim.written")
        crash_point("claim.committed")
        return sorted(
            (Claimed(row[0], row[1], row[2], row[3], loads(row[4]), row[5], row[6]) for row in rows),
            key=lambda claimed: claimed.id,
        )

    def has_suspects(self) -> bool:
        """Tell whether an execution waits that must run alone."""
        with self._db.read() as c:
            return (
                c.exec_driver_sql(
                    'SELECT 1 FROM "AgentGraphExecution" WHERE "status" = \'QUEUED\' AND "deaths" > 0 LIMIT 1'
                ).first()
                is not None
            )

    def hand_back(self, lease: Lease, execution_ids: Sequence[str]) -> None:
        """Queue executions again that their executor cannot finish before it stops.  They keep their place."""
        if not execution_ids:
            return
        with self._db.write() as c:
            self._leases.bump(c, lease)
            c.exec_driver_sql(
                self._db.sql(
                    'UPDATE "AgentGraphExecution" SET "status" = \'QUEUED\', "executor" = NULL, '
                    '"revision" = "revision" + 1 WHERE "id" = ? AND "status" = \'RUNNING\' AND "executor" = ?'
                ),
                [(execution_id, lease.id) for execution_id in execution_ids],
            )
            crash_point("hand_back.written")
        crash_point("hand_back.committed")

    def request_stop(self, user_id: str, execution_id: str) -> ExecutionStatus:
        """Stop an execution and those it started.  What is queued ends TERMINATED now; what runs is told to.

        Repeating it is harmless, also after the end.

        Returns:
            The status after this call.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
        """
        with self._db.write() as c:
            row = c.exec_driver_sql(
                self._db.sql('SELECT "status" FROM "AgentGraphExecution" WHERE "id" = ? AND "userId" = ?'),
                (execution_id, user_id),
            ).first()
            if row is None:
                raise ExecutionNotFound(execution_id)
            pending = [execution_id]
            while pending:
                current = pending.pop()
                self._stop_one(c, current)
                pending += c.exec_driver_sql(
                    self._db.sql('SELECT "id" FROM "AgentGraphExecution" WHERE "parentExecutionId" = ?'), (current,)
                ).scalars()
            status = c.exec_driver_sql(
                self._db.sql('SELECT "status" FROM "AgentGraphExecution" WHERE "id" = ?'), (execution_id,)
            ).scalar_one()
            crash_point("stop.written")
        return ExecutionStatus(status)

    def _stop_one(self, c: Connection, execution_id: str) -> None:
        now = self._db.to_column(datetime.now(UTC))
        if self._db.provider == "postgresql":
            # Nobody may hand it back or rescue it between the two looks below.
            c.exec_driver_sql('SELECT 1 FROM "AgentGraphExecution" WHERE "id" = %s FOR UPDATE', (execution_id,))
        ended = c.exec_driver_sql(
            self._db.sql(
                'UPDATE "AgentGraphExecution" SET "status" = \'TERMINATED\', "endedAt" = ?, "stopRequestedAt" = ?, '
                '"revision" = "revision" + 1 WHERE "id" = ? AND "status" IN (\'INCOMPLETE\',\'QUEUED\',\'PAUSED\') '
                'RETURNING "revision"'
            ),
            (now, now, execution_id),
        ).first()
        if ended is not None:
            end_running_nodes(self._db, c, execution_id, ExecutionStatus.TERMINATED, None, ended[0])
            return
        c.exec_driver_sql(
            self._db.sql(
                'UPDATE "AgentGraphExecution" SET "stopRequestedAt" = ?, "revision" = "revision" + 1 '
                'WHERE "id" = ? AND "status" = \'RUNNING\' AND "stopRequestedAt" IS NULL'
            ),
            (now, execution_id),
        )

    def running(self, lease: Lease) -> dict[str, bool]:
        """Read what is RUNNING under a lease, and which of it has been asked to stop."""
        with self._db.read() as c:
            rows = c.exec_driver_sql(
                self._db.sql(
                    'SELECT "id","stopRequestedAt" FROM "AgentGraphExecution" '
                    'WHERE "status" = \'RUNNING\' AND "executor" = ?'
                ),
                (lease.id,),
            ).all()
        return {row[0]: row[1] is not None for row in rows}


def inputs_text(inputs: dict[str, Any]) -> str:
    """Write the inputs of an execution as they are stored, with sorted names so that equal inputs compare equal."""
    return dumps({name: inputs[name] for name in sorted(inputs)})
