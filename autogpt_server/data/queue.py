"""The execution queue.  It is the AgentGraphExecution table: what is QUEUED there is queued, and nothing else.

Accepting, claiming and handing back.  Whose turn it is stands in model/turns.py; stopping and pausing in controls.py.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autogpt_server.data.claims import Looks
from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.ends import Ends
from autogpt_server.data.leases import Lease, Leases
from autogpt_server.data.release import release
from autogpt_server.data.schemas import SCHEMA_NUMBER
from autogpt_server.errors import ConflictError
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.idempotency import keys_after, shown_key
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.turns import ORDINARY, Waiting
from autogpt_server.service.crash_points import crash_point

log = logging.getLogger(__name__)


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
    #: As ``turns.lane_of`` tells.
    lane: str = ORDINARY
    lane_limit: int = 0
    priority: int = 0
    rerun_of_id: str | None = None
    rerun_from_node_id: str | None = None


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
    #: Whether its end lets others of its lane start.
    is_limited: bool = False
    #: Seconds that it has been running, over all attempts, pauses not counted.
    elapsed_seconds: float = 0.0
    #: Whether it took over recorded ends of another execution.
    is_rerun: bool = False
    #: Whether it was claimed with its acceptance, while nothing else waited.
    is_handed: bool = False


@dataclass(frozen=True, slots=True)
class Requests:
    """What a running execution was asked for."""

    stop: bool
    pause: bool


_ACCEPT = """
INSERT INTO "AgentGraphExecution"
("id","agentGraphId","agentGraphVersion","userId","inputs","idempotencyKey","parentExecutionId","depth","lane",
 "laneLimit","priority","rerunOfId","rerunFromNodeId","createdAt","status","stopRequestedAt","pauseRequestedAt",
 "endedAt","attempt","deaths","revision")
VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0,0,1) ON CONFLICT DO NOTHING
"""

_OF_KEYS = """
SELECT "idempotencyKey","id","status","agentGraphId","inputs","rerunOfId","rerunFromNodeId" FROM "AgentGraphExecution"
WHERE "userId" = ? AND "idempotencyKey" {among}
"""

_PARENTS = """
SELECT "id","status","stopRequestedAt","pauseRequestedAt" FROM "AgentGraphExecution"
WHERE "id" IN ({marks}) ORDER BY "id"{lock}
"""

# Materialized: PostgreSQL would otherwise be free to look for the oldest again for every row.  And the status is asked
# for there alone, where the rows are locked: asked for below as well, PostgreSQL goes through all that is queued for
# each of them, as long as its statistics are from a time when little was.
_CLAIM = """
WITH "due" AS MATERIALIZED (SELECT "id" FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND {which}{skip_locked})
UPDATE "AgentGraphExecution" SET "status" = 'RUNNING', "executor" = ?, "attempt" = "attempt" + 1,
"revision" = "revision" + 1, "startedAt" = COALESCE("startedAt", ?)
WHERE "id" IN (SELECT "id" FROM "due")
RETURNING "id","agentGraphId","agentGraphVersion","userId","inputs","attempt","depth","laneLimit","priority",
"startedAt","pausedMilliseconds","rerunOfId"
"""
_GIVE_UP = """
UPDATE "AgentGraphExecution" SET "status" = 'FAILED', "executor" = NULL, "error" = ?, "endedAt" = ?,
"revision" = "revision" + 1 WHERE "id" = ?
"""
_FIRST_OF_LINE = '"lane" = ? AND "userId" = ? ORDER BY "priority" DESC, "id" LIMIT ?'

# The first of all that waits, as long as it is the only one: nobody's turn is taken, and no limit is there to keep.
_HAND_OVER = """
UPDATE "AgentGraphExecution" SET "status" = 'RUNNING', "executor" = ?, "attempt" = "attempt" + 1,
"revision" = "revision" + 1, "startedAt" = ?
WHERE "id" = ? AND "status" = 'QUEUED'
AND NOT EXISTS (SELECT 1 FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND "id" <> ?)
"""

#: Takes the advisory lock under which executions are claimed that a limit allows: "limi" in ASCII, and whose they are.
_LOCK_LIMITS = f"SELECT pg_advisory_xact_lock(%s, ({SCHEMA_NUMBER}::bigint & 2147483647)::int)"
_LIMITS = 0x6C696D69

AnyRow = Row


class ExecutionQueue:
    """The class over the table.  Every method is one short transaction.

    Args:
        database: Where it is.
        max_per_user: Executions of one user that may run at the same time; None for no limit.
    """

    def __init__(self, database: Database, max_per_user: int | None = None) -> None:
        self._db = database
        self._leases = Leases(database)
        self._looks = Looks(database, max_per_user)

    def accept(
        self, connection: Connection, batches: list[list[NewExecution]]
    ) -> list[list[tuple[str, ExecutionStatus]]]:
        """Store executions as QUEUED, inside a group commit.  Safe to repeat.

        An execution whose user already used its idempotency key is not stored again: the answer names the
        first one with its present status.  A part of an execution that is paused, stopped or over begins
        as what that was asked for.

        Raises:
            ConflictError: The key was used for something else.
        """
        now = self._db.to_column(clock.now())
        every = [e for batch in batches for e in batch]
        beginnings = self._beginnings(connection, {e.parent_execution_id for e in every if e.parent_execution_id})
        statuses = [beginnings.get(e.parent_execution_id or "", ExecutionStatus.QUEUED) for e in every]
        rows = [_row(e, status, now) for e, status in zip(every, statuses, strict=True)]
        connection.execute(self._db.sql(_ACCEPT), rows)
        crash_point("accept.written")
        accepted = ((e.id, status) for e, status in zip(every, statuses, strict=True))
        firsts = _Firsts(self._db, connection, batches)
        return [[firsts.of(e, next(accepted)) for e in batch] for batch in batches]

    def _beginnings(self, c: Connection, parents: Iterable[str]) -> dict[str, ExecutionStatus]:
        """Tell as what the parts of executions begin, by the parent's id.

        The parents are locked: a stop or a pause that comes at this moment either is seen here, or sees the part.
        """
        ids = sorted(parents)
        if not ids:
            return {}
        lock = " FOR SHARE" if self._db.provider == "postgresql" else ""
        text = _PARENTS.format(marks=",".join("?" * len(ids)), lock=lock)
        beginnings: dict[str, ExecutionStatus] = {}
        for row in c.execute(self._db.sql(text), tuple(ids)).all():
            status = ExecutionStatus(row[1])
            if status.is_final or row[2] is not None:
                beginnings[row[0]] = ExecutionStatus.TERMINATED
            elif status is ExecutionStatus.PAUSED or row[3] is not None:
                beginnings[row[0]] = ExecutionStatus.PAUSED
        return beginnings

    def claim(
        self,
        lease: Lease,
        limit: int,
        *,
        suspects: bool = False,
        expects_some: bool = False,
        without: Collection[str] = (),
    ) -> list[Claimed]:
        """Move the executions whose turn it is to RUNNING under a lease, each with its attempt raised by one.

        Two claimers never receive the same execution, and together they never exceed a limit.  Returns at once,
        with an empty list when nothing waits that may start.

        Args:
            lease: The claimer's.
            limit: How many at most.
            suspects: Claim only those that must run alone; otherwise only the others.
            expects_some: The claimer was told that something waits, so it goes straight for the write lock.
            without: Users of whom nothing is claimed; for others than suspects.

        Raises:
            LeaseLost: The claimer has been given up by an observer.
        """
        chosen: list[Waiting] = []
        if not expects_some:
            with self._db.read() as c:
                # A look without the write lock: most calls find nothing.
                chosen = self._look(c, limit, suspects, without)
            if not chosen:
                return []
        # Not durable by itself: nothing is done on the strength of a claim that is not recorded in a later commit,
        # which makes this one durable, too.  A loss of power before that leaves the execution QUEUED.
        with self._db.write(durable=False) as c:
            self._leases.bump(c, lease)
            if expects_some:
                chosen = self._look(c, limit, suspects, without)
            if suspects or any(self._looks.is_limited(one) for one in chosen):
                # What was allowed a moment ago may have been used up by another claimer.
                self._lock_limits(c)
                rows = self._take(c, lease, self._look(c, limit, suspects, without))
            else:
                rows = self._take_of_lines(c, lease, chosen)
            claimed = self._readable(c, sorted(rows, key=lambda row: (-row[8], row[0])))
            crash_point("claim.written")
        crash_point("claim.committed")
        return claimed

    def _readable(self, c: Connection, rows: Sequence[AnyRow]) -> list[Claimed]:
        """Turn rows into what is claimed.  One that cannot be read ends FAILED here, and holds up no other."""
        claimed: list[Claimed] = []
        for row in rows:
            try:
                claimed.append(self._claimed(row))
            except ValueError as error:
                log.error("the inputs of execution %s cannot be read; it ends FAILED", row[0])
                reason = f"The stored inputs cannot be read: {error}"
                c.execute(self._db.sql(_GIVE_UP), (reason, self._db.to_column(clock.now()), row[0]))
        return claimed

    def _look(self, c: Connection, limit: int, suspects: bool, without: Collection[str]) -> list[Waiting]:
        return self._looks.look_for_suspects(c, limit) if suspects else self._looks.look(c, limit, without)

    def _lock_limits(self, c: Connection) -> None:
        if self._db.provider == "postgresql":
            c.execute(_LOCK_LIMITS, (_LIMITS,))

    def _take(self, c: Connection, lease: Lease, chosen: list[Waiting]) -> Sequence[AnyRow]:
        """Claim exactly what was chosen, but for what somebody else is just stopping or pausing."""
        if not chosen:
            return []
        marks = ",".join("?" * len(chosen))
        return self._claim_rows(c, lease, f'"id" IN ({marks})', *(one.id for one in chosen))

    def _take_of_lines(self, c: Connection, lease: Lease, chosen: list[Waiting]) -> Sequence[AnyRow]:
        """Claim as many of each line as were chosen: not the same ones where another claimer was faster."""
        rows: list[AnyRow] = []
        for (lane, user_id), count in Counter((one.lane, one.user_id) for one in chosen).items():
            rows += self._claim_rows(c, lease, _FIRST_OF_LINE, lane, user_id, count)
        return rows

    def _claim_rows(self, c: Connection, lease: Lease, which: str, *values: Any) -> Sequence[AnyRow]:
        skip_locked = " FOR UPDATE SKIP LOCKED" if self._db.provider == "postgresql" else ""
        text = self._db.sql(_CLAIM.format(which=which, skip_locked=skip_locked))
        return c.execute(text, (*values, lease.id, self._db.to_column(clock.now()))).all()

    def _claimed(self, row: AnyRow) -> Claimed:
        is_limited = self._looks.has_limit(row[7])
        elapsed = self._elapsed(row) if row[5] > 1 else 0.0
        return Claimed(
            row[0], row[1], row[2], row[3], loads(row[4]), row[5], row[6], is_limited, elapsed, row[11] is not None
        )

    def _elapsed(self, row: AnyRow) -> float:
        started = self._db.from_column(row[9])
        if started is None:
            return 0.0
        # The wall clock may have been moved meanwhile.
        return max(0.0, (clock.now() - started).total_seconds() - row[10] / 1000)

    def has_suspects(self) -> bool:
        """Tell whether an execution waits that must run alone, and that may start now."""
        with self._db.read() as c:
            return bool(self._looks.look_for_suspects(c, 1))

    def hand_over(self, connection: Connection, lease: Lease, execution_id: str) -> bool:
        """Claim for an executor that offered its lease what was accepted in this same transaction.

        Only for an execution that no limit is about.  Nothing happens where another one waits as well, or the lease
        was lost; the execution then stays QUEUED.

        Returns:
            Whether the execution is now RUNNING under the lease.
        """
        if not self._leases.is_held(connection, lease):
            return False
        now = self._db.to_column(clock.now())
        values = (lease.id, now, execution_id, execution_id)
        return connection.execute(self._db.sql(_HAND_OVER), values).rowcount == 1

    def hand_back(self, lease: Lease, execution_ids: Sequence[str]) -> None:
        """Take executions from their executor that will not end them: it stops, or they were asked to pause.

        They are QUEUED again in their old place, PAUSED or TERMINATED, as they were asked.
        """
        if not execution_ids:
            return
        marks = ",".join("?" * len(execution_ids))
        ends = Ends()
        with self._db.write() as c:
            self._leases.bump(c, lease)
            release(self._db, c, ends, f'"executor" = ? AND "id" IN ({marks})', (lease.id, *execution_ids))
            crash_point("hand_back.written")
        crash_point("hand_back.committed")
        ends.count()

    def running(self, lease: Lease, execution_ids: Sequence[str] | None = None) -> dict[str, Requests]:
        """Read what is RUNNING under a lease, or what of some is, and what it was asked for."""
        which, values = "", tuple(execution_ids or ())
        if execution_ids is not None:
            which = f' AND "id" IN ({",".join("?" * len(values))})'
        with self._db.read() as c:
            rows = c.execute(
                self._db.sql(
                    'SELECT "id","stopRequestedAt","pauseRequestedAt" FROM "AgentGraphExecution" '
                    f'WHERE "status" = \'RUNNING\' AND "executor" = ?{which}'
                ),
                (lease.id, *values),
            ).all()
        return {row[0]: Requests(stop=row[1] is not None, pause=row[2] is not None) for row in rows}


class _Firsts:
    """The executions that were accepted first under the idempotency keys of some new ones, the new ones among them.

    Raises:
        ConflictError: A batch with that key had another number of executions.
    """

    def __init__(self, db: Database, c: Connection, batches: list[list[NewExecution]]) -> None:
        wanted: dict[str, set[str]] = {}
        for batch in batches:
            for new in batch:
                if new.idempotency_key is not None:
                    wanted.setdefault(new.user_id, set()).add(new.idempotency_key)
                    wanted[new.user_id] |= keys_after(new.idempotency_key, len(batch))
        text = db.sql(_OF_KEYS.format(among=db.among)) if wanted else ""
        self._rows: dict[tuple[str, str], AnyRow] = {
            (user_id, row[0]): row
            for user_id, keys in wanted.items()
            for row in c.execute(text, (user_id, db.to_list(sorted(keys))))
        }
        for batch in batches:
            if batch[0].idempotency_key is not None:
                self._check_length(batch)

    def of(self, new: NewExecution, accepted: tuple[str, ExecutionStatus]) -> tuple[str, ExecutionStatus]:
        """Tell the id and status of the first execution with a new one's key.

        Raises:
            ConflictError: It executes something else.
        """
        if new.idempotency_key is None:
            return accepted
        first = self._rows[new.user_id, new.idempotency_key]
        wanted = (new.graph_id, new.inputs, new.rerun_of_id, new.rerun_from_node_id)
        if first[1] != new.id and tuple(first[3:7]) != wanted:
            raise ConflictError(
                f"The idempotency key {shown_key(new.idempotency_key)!r} was used with another graph or other inputs, "
                f"for execution {first[1]}."
            )
        return first[1], ExecutionStatus(first[2])

    def _check_length(self, batch: list[NewExecution]) -> None:
        key, user_id = batch[0].idempotency_key or "", batch[0].user_id
        are_new = {self._rows[user_id, new.idempotency_key or ""][1] == new.id for new in batch}
        if len(are_new) > 1 or any((user_id, after) in self._rows for after in keys_after(key, len(batch))):
            raise ConflictError(f"The idempotency key {shown_key(key)!r} was used with a batch of another length.")


def _row(new: NewExecution, status: ExecutionStatus, now: Any) -> tuple[Any, ...]:
    is_stopped, is_paused = status is ExecutionStatus.TERMINATED, status is ExecutionStatus.PAUSED
    return (
        new.id,
        new.graph_id,
        new.graph_version,
        new.user_id,
        new.inputs,
        new.idempotency_key,
        new.parent_execution_id,
        new.depth,
        new.lane,
        new.lane_limit,
        new.priority,
        new.rerun_of_id,
        new.rerun_from_node_id,
        now,
        status,
        now if is_stopped else None,
        now if is_paused else None,
        now if is_stopped else None,
    )


def inputs_text(inputs: dict[str, Any]) -> str:
    """Write the inputs of an execution as they are stored, with sorted names so that equal inputs compare equal."""
    return dumps({name: inputs[name] for name in sorted(inputs)})
