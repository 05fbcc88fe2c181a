"""Executor leases: which executor processes live, and giving the work of a dead one back.

An executor owns what it claimed for as long as its lease row keeps its epoch.  Every commit of its own bumps
``beat`` under that condition; whoever takes its work over raises the epoch in the transaction that requeues, so a
process that was only asleep finds its lease gone at its next commit and writes nothing more.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from autogpt_server.data.commit import LeaseLost
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.ends import Ends
from autogpt_server.data.notifications import ExecutionEnd, ExecutionNews
from autogpt_server.data.release import end_running_nodes, release
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import new_id
from autogpt_server.model.turns import QUARANTINE
from autogpt_server.service.crash_points import crash_point
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import RESCUED

#: Attempts after which an execution whose processes keep dying, unmarked, is no longer thought innocent.
_MANY_ATTEMPTS = 5
#: Seconds that an observer waits for the writers of a SQLite database: it is who kills one of them that stands still.
_OBSERVER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one executor process to write what it claimed."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Rescued:
    """What became of a dead executor's executions."""

    requeued: int
    parked: tuple[str, ...]


def machine_name() -> str:
    """Name this machine so that process ids of equal names can be compared: host, boot and pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} {boot} {namespace}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, and its beat when it was read."""

    host: str
    pid: int
    beat: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """A node execution whose code ran when its process died."""

    node_execution_id: str
    node_id: str
    block_name: str

    @property
    def execution_id(self) -> str:
        return self.node_execution_id.rpartition(".")[0]

    def __str__(self) -> str:
        return f"node {self.node_id} ({self.block_name})"


class Leases:
    """The Executor table."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def register(self, host: str, pid: int) -> Lease:
        """Take a new lease.  Sweeps away those that were lost and own nothing any more."""
        lease = Lease(new_id(), 1)
        with self._db.write() as c:
            c.execute(
                'DELETE FROM "Executor" WHERE "epoch" > 1 AND "id" NOT IN '
                '(SELECT "executor" FROM "AgentGraphExecution" WHERE "status" = \'RUNNING\' AND "executor" IS NOT NULL)'
            )
            c.execute(
                self._db.sql(
                    'INSERT INTO "Executor" ("id","epoch","beat","host","pid","startedAt") VALUES (?,?,0,?,?,?)'
                ),
                (lease.id, lease.epoch, host, pid, self._db.to_column(clock.now())),
            )
            crash_point("lease.written")
        crash_point("lease.committed")
        return lease

    def bump(self, connection: Connection, lease: Lease) -> None:
        """Prove, inside a transaction of the owner, that the lease still holds.

        Raises:
            LeaseLost: It does not; the caller must roll back and stop.
        """
        changed = connection.execute(
            self._db.sql('UPDATE "Executor" SET "beat" = "beat" + 1 WHERE "id" = ? AND "epoch" = ?'),
            (lease.id, lease.epoch),
        ).rowcount
        if changed == 0:
            raise LeaseLost(lease.id)

    def is_held(self, connection: Connection, lease: Lease) -> bool:
        """Tell whether nobody has given the owner up, and let nobody do so before the end of this transaction."""
        lock = " FOR SHARE" if self._db.provider == "postgresql" else ""
        text = self._db.sql(f'SELECT 1 FROM "Executor" WHERE "id" = ? AND "epoch" = ?{lock}')
        return connection.execute(text, (lease.id, lease.epoch)).first() is not None

    def holders(self) -> dict[Lease, Holder]:
        """Read every lease that was not lost.  Observers time unchanged beats with their own clock."""
        with self._db.read() as c:
            rows = c.execute('SELECT "id","epoch","host","pid","beat" FROM "Executor" WHERE "epoch" = 1').all()
        return {Lease(row[0], row[1]): Holder(row[2], row[3], row[4]) for row in rows}

    def end(self, lease: Lease) -> None:
        """Give a lease back at an orderly stop.  What its owner left RUNNING is queued again with it."""
        ends = Ends()
        with self._db.write() as c:
            release(self._db, c, ends, '"executor" = ?', (lease.id,))
            c.execute(self._db.sql('DELETE FROM "Executor" WHERE "id" = ? AND "epoch" = ?'), (lease.id, lease.epoch))
            crash_point("lease.end_written")
        crash_point("lease.end_committed")
        ends.count()

    def requeue_orphans(self) -> int:
        """Queue what is RUNNING under a lease that does not exist: it can neither go on nor be rescued.

        Returns:
            How many there were; 0 but for a defect, or hands in the table.
        """
        orphaned = '"executor" NOT IN (SELECT "id" FROM "Executor")'
        with self._db.read() as c:
            look = f'SELECT 1 FROM "AgentGraphExecution" WHERE "status" = \'RUNNING\' AND {orphaned} LIMIT 1'
            if c.execute(look).first() is None:
                return 0
        ends = Ends()
        with self._db.write(seconds=_OBSERVER_SECONDS) as c:
            requeued = release(self._db, c, ends, orphaned)
        ends.count()
        return requeued

    def rescue(
        self,
        lease: Lease,
        suspects: Collection[Suspect],
        *,
        max_deaths: int,
        reason: str,
        ran_alone: bool = False,
    ) -> Rescued:
        """Take all executions from an executor that died and queue them again, in one transaction.

        Args:
            lease: The dead executor's, as it was last seen.  When it was already lost, nothing happens.
            suspects: Node executions that ran at the moment of death.  Their executions have one death more
                and run alone from now on; the others are queued as if nothing had been.
            max_deaths: With this many an execution is parked: FAILED, with the reason.
            reason: How the process ended, for the error of what is parked.
            ran_alone: The process ran one execution at a time: that one is to blame, whatever was marked.

        A process may also die of something that nobody marked.  What was taken over so often that chance is no
        explanation any more is then sent to run alone, too.

        Raises:
            Unavailable: The database is away, or others have written for some seconds; to be tried again.
        """
        by_execution: dict[str, list[Suspect]] = {}
        for suspect in suspects:
            by_execution.setdefault(suspect.execution_id, []).append(suspect)
        ends = Ends()
        with self._db.write(seconds=_OBSERVER_SECONDS) as c:
            fenced = c.execute(
                self._db.sql('UPDATE "Executor" SET "epoch" = "epoch" + 1 WHERE "id" = ? AND "epoch" = ?'),
                (lease.id, lease.epoch),
            ).rowcount
            if fenced == 0:
                return Rescued(0, ())
            crash_point("rescue.fenced")
            rows = c.execute(
                self._db.sql(
                    'SELECT "id","deaths","attempt" FROM "AgentGraphExecution" '
                    'WHERE "status" = \'RUNNING\' AND "executor" = ?'
                ),
                (lease.id,),
            ).all()
            blamed = {
                row[0]
                for row in rows
                if row[0] in by_execution or ran_alone or (not suspects and row[2] >= _MANY_ATTEMPTS)
            }
            parked = [row[0] for row in rows if row[0] in blamed and row[1] + 1 >= max_deaths]
            for execution_id in parked:
                self._park(c, ends, execution_id, by_execution.get(execution_id, []), max_deaths, reason)
            for execution_id in blamed.difference(parked):
                c.execute(
                    self._db.sql('UPDATE "AgentGraphExecution" SET "deaths" = "deaths" + 1, "lane" = ? WHERE "id" = ?'),
                    (QUARANTINE, execution_id),
                )
            requeued = release(self._db, c, ends, '"executor" = ?', (lease.id,))
            crash_point("rescue.written")
        crash_point("rescue.committed")
        ends.count()
        counting.add(RESCUED, requeued)
        return Rescued(requeued, tuple(parked))

    def _park(
        self, c: Connection, ends: Ends, execution_id: str, suspects: list[Suspect], deaths: int, reason: str
    ) -> None:
        now = self._db.to_column(clock.now())
        running = ", ".join(str(suspect) for suspect in suspects) or "no node's own code"
        error = f"The executor process died {deaths} times while this ran ({reason}); running then: {running}."
        row = c.execute(
            self._db.sql(
                'UPDATE "AgentGraphExecution" SET "status" = \'FAILED\', "deaths" = ?, "error" = ?, "endedAt" = ?, '
                '"revision" = "revision" + 1 WHERE "id" = ? '
                'RETURNING "revision", "attempt", "userId", "agentGraphId", "parentExecutionId"'
            ),
            (deaths, error, now, execution_id),
        ).one()
        for suspect in suspects:
            # Trivial blocks have no row while they run.
            c.execute(
                self._db.sql(
                    'INSERT INTO "AgentNodeExecution" ("id","agentGraphExecutionId","agentNodeId","status","inputData",'
                    '"attempt","revision","startedAt") VALUES (?,?,?,\'RUNNING\',\'{}\',?,?,?) ON CONFLICT DO NOTHING'
                ),
                (suspect.node_execution_id, execution_id, suspect.node_id, row[1], row[0], now),
            )
        blamed = {suspect.node_execution_id for suspect in suspects} or None
        ends.executions[ExecutionStatus.FAILED.value] += 1
        end_running_nodes(self._db, c, ends, execution_id, ExecutionStatus.FAILED, error, row[0], blamed)
        if row[4] is None:
            end = ExecutionEnd(execution_id, row[2], row[3], ExecutionStatus.FAILED.value, error)
            ExecutionNews(self._db).tell(c, [end])
