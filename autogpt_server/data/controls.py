"""Stopping, pausing and resuming executions, and with each everything that is a part of it.

What does not run is changed at once.  What runs gets a request in its row, which its executor obeys; whatever happens
to that executor, the row leaves it only by way of the request (release.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database, is_deadlock
from autogpt_server.data.ends import Ends
from autogpt_server.data.release import end_running_nodes
from autogpt_server.errors import ConflictError, ExecutionNotFound, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.service.crash_points import crash_point

#: Times that a transaction is begun which others keep breaking off.
_TRIES = 5
#: Largest number that the column for the time paused holds: 24 days.  What is paused for longer counts as running.
_MAX_INT = 2**31 - 1

_ROW = """
SELECT "id","status","stopRequestedAt","pauseRequestedAt","startedAt","pausedMilliseconds" FROM "AgentGraphExecution"
WHERE "id" = ?{lock}
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """What a request reached.  ``ids`` are those that it changed, the one it was meant for and its parts."""

    status: ExecutionStatus
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    status: ExecutionStatus
    is_stopping: bool
    pause_requested_at: Any
    has_started: bool
    paused_milliseconds: int
    #: It was named in the request; its parts only follow it.
    is_named: bool

    def refuse(self, reason: str) -> None:
        """Refuse the request, where it was this one that it named."""
        if self.is_named:
            raise ConflictError(f"Execution {self.id} {reason}.")


_Move = Callable[[Connection, _Row, Ends], bool]


class Controls:
    """Requests of users about executions.  Every method is one short transaction, and harmless when repeated.

    Each raises ``ExecutionNotFound`` for what is unknown or another user's.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def stop(self, user_id: str, execution_id: str) -> Reached:
        """End what does not run TERMINATED now; what runs is told to.  One that has ended stays as it is."""
        return self._reach(user_id, execution_id, self._stop)

    def pause(self, user_id: str, execution_id: str) -> Reached:
        """Make what is QUEUED PAUSED now; what runs starts no new node, and is PAUSED once its running ones ended.

        Raises:
            ConflictError: It has ended, or is being stopped.
        """
        return self._reach(user_id, execution_id, self._pause)

    def resume(self, user_id: str, execution_id: str) -> Reached:
        """Queue what is PAUSED again, in its old place; take the request back where it still runs.

        Raises:
            ConflictError: It has ended.
        """
        return self._reach(user_id, execution_id, self._resume)

    def _reach(self, user_id: str, execution_id: str, move: _Move) -> Reached:
        for _ in range(_TRIES - 1):
            try:
                return self._reach_once(user_id, execution_id, move)
            except Unavailable as error:
                # An executor that commits parent and part at once may lock them the other way round.
                if not is_deadlock(error):
                    raise
        return self._reach_once(user_id, execution_id, move)

    def _reach_once(self, user_id: str, execution_id: str, move: _Move) -> Reached:
        with self._db.write() as c:
            owner = c.execute(
                self._db.sql('SELECT "userId" FROM "AgentGraphExecution" WHERE "id" = ?'), (execution_id,)
            ).scalar()
            if owner != user_id:
                raise ExecutionNotFound(execution_id)
            ends = Ends()
            changed = self._reach_parts(c, execution_id, move, ends)
            status = c.execute(
                self._db.sql('SELECT "status" FROM "AgentGraphExecution" WHERE "id" = ?'), (execution_id,)
            ).scalar_one()
            crash_point("stop.written")
        ends.count()
        return Reached(ExecutionStatus(status), tuple(changed))

    def stop_within(self, c: Connection, execution_id: str, ends: Ends) -> list[str]:
        """Stop anybody's execution inside a transaction; returns what was changed.

        Args:
            c: The transaction's.
            execution_id: Of the execution.
            ends: Takes what ended with it; to be counted after the commit.
        """
        return self._reach_parts(c, execution_id, self._stop, ends)

    def _reach_parts(self, c: Connection, execution_id: str, move: _Move, ends: Ends) -> list[str]:
        changed: list[str] = []
        # Parts are younger than what they are a part of, so this locks rows in the order of their ids.
        pending = [execution_id]
        while pending:
            current = heapq.heappop(pending)
            row = self._lock(c, current, is_named=current == execution_id)
            if move(c, row, ends):
                changed.append(current)
            for part in c.execute(
                self._db.sql('SELECT "id" FROM "AgentGraphExecution" WHERE "parentExecutionId" = ?'), (current,)
            ).scalars():
                heapq.heappush(pending, part)
        return changed

    def _lock(self, c: Connection, execution_id: str, *, is_named: bool) -> _Row:
        """Read a row that nobody changes before our commit; nor does it get a part that we do not see."""
        lock = " FOR UPDATE" if self._db.provider == "postgresql" else ""
        row = c.execute(self._db.sql(_ROW.format(lock=lock)), (execution_id,)).one()
        return _Row(row[0], ExecutionStatus(row[1]), row[2] is not None, row[3], row[4] is not None, row[5], is_named)

    def _stop(self, c: Connection, row: _Row, ends: Ends) -> bool:
        now = self._now()
        if row.status.is_final or row.is_stopping:
            return False
        if row.status is ExecutionStatus.RUNNING:
            self._set(c, row, '"stopRequestedAt" = ?', now)
            return True
        revision = self._set(c, row, '"status" = \'TERMINATED\', "stopRequestedAt" = ?, "endedAt" = ?', now, now)
        ends.executions[ExecutionStatus.TERMINATED.value] += 1
        end_running_nodes(self._db, c, ends, row.id, ExecutionStatus.TERMINATED, None, revision)
        return True

    def _pause(self, c: Connection, row: _Row, _: Ends) -> bool:
        match row.status:
            case ExecutionStatus.QUEUED:
                self._set(c, row, '"status" = \'PAUSED\', "pauseRequestedAt" = ?', self._now())
                return True
            case ExecutionStatus.RUNNING if row.is_stopping:
                row.refuse("is being stopped")
            case ExecutionStatus.RUNNING if row.pause_requested_at is None:
                self._set(c, row, '"pauseRequestedAt" = ?', self._now())
                return True
            case ExecutionStatus.RUNNING | ExecutionStatus.PAUSED:
                pass
            case _:
                row.refuse(f"is {row.status} and cannot be paused")
        return False

    def _resume(self, c: Connection, row: _Row, _: Ends) -> bool:
        if row.status.is_final:
            row.refuse(f"is {row.status} and cannot be resumed")
        if row.status is ExecutionStatus.PAUSED:
            paused = row.paused_milliseconds + self._paused_for(row)
            what = '"status" = \'QUEUED\', "pauseRequestedAt" = NULL, "pausedMilliseconds" = ?'
            self._set(c, row, what, paused)
            return True
        if row.status is ExecutionStatus.RUNNING and row.pause_requested_at is not None:
            self._set(c, row, '"pauseRequestedAt" = NULL')
            return True
        return False

    def _paused_for(self, row: _Row) -> int:
        """Milliseconds that this pause took from an execution that had begun; the wall clock may have been moved."""
        began = self._db.from_column(row.pause_requested_at)
        if began is None or not row.has_started:
            return 0
        milliseconds = int((clock.now() - began).total_seconds() * 1000)
        return min(max(0, milliseconds), _MAX_INT - row.paused_milliseconds)

    def _set(self, c: Connection, row: _Row, what: str, *values: Any) -> int:
        text = (
            f'UPDATE "AgentGraphExecution" SET {what}, "revision" = "revision" + 1 WHERE "id" = ? RETURNING "revision"'
        )
        return c.execute(self._db.sql(text), (*values, row.id)).scalar_one()

    def _now(self) -> Any:
        return self._db.to_column(clock.now())
