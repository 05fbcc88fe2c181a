"""What an executor records: starts and ends of nodes, and the end of the execution, in its group commit.

However many executions a commit is about, it takes a handful of statements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from autogpt_server.data.block_counts import BlockCounts
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.drafts import Draft, DraftEnd
from autogpt_server.data.ends import Ends
from autogpt_server.data.leases import Lease, Leases
from autogpt_server.data.node_rows import Columns, NodeRow, columns, write_node_rows
from autogpt_server.data.notifications import ExecutionEnd, ExecutionNews
from autogpt_server.data.release import end_running_nodes
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.service.crash_points import crash_point

#: Why an execution ended that was asked to.
STOPPED = "stopped on request"


@dataclass(slots=True)
class Ending:
    """How a graph execution ended.  ``outputs`` and ``stats`` are JSON text."""

    status: ExecutionStatus
    outputs: str
    stats: str
    error: str | None


@dataclass(slots=True)
class OutputRow:
    """What a streaming block has yielded.  ``value`` is JSON text."""

    number: int
    after_sequence: int
    node_execution_id: str
    pin: str
    value: str


@dataclass(slots=True)
class Record:
    """Everything of one execution that waits to become durable."""

    execution_id: str
    attempt: int
    nodes: list[NodeRow] = field(default_factory=list[NodeRow])
    ending: Ending | None = None
    outputs: list[OutputRow] = field(default_factory=list[OutputRow])
    #: Node executions that the commit found RUNNING when the execution ended, and ended with it; filled in by it.
    left_running: Ends | None = None
    #: A transaction has written it before, and perhaps nobody heard that it was committed.
    is_repeated: bool = False

    def end_as_stopped(self) -> None:
        """Where it fails although it was asked to stop, let it end as what was asked for.

        What is executed as a part of it may have been stopped a moment before, by the same request: it fails of that.
        """
        if self.ending is not None and self.ending.status is ExecutionStatus.FAILED:
            self.ending = replace(self.ending, status=ExecutionStatus.TERMINATED, error=STOPPED)


@dataclass(slots=True)
class _Stored:
    """An execution's row, which is locked until the commit."""

    status: str
    executor: str | None
    attempt: int
    revision: int
    is_stopping: bool
    user_id: str
    graph_id: str
    is_part: bool
    #: Whether this commit has moved it on.
    is_advanced: bool = False

    def advance(self, lease: Lease, record: Record) -> int | None:
        """Move the execution on under the fence and return its revision; None when it is not ours any more."""
        if self.executor != lease.id or self.attempt != record.attempt:
            return None
        if self.is_stopping:
            record.end_as_stopped()
        ending = record.ending
        if self.status == ExecutionStatus.RUNNING:
            self.revision += 1
            self.is_advanced = True
            if ending is not None:
                self.status = ending.status
            return self.revision
        # A commit whose answer was lost is written again: our own end is then already there.
        return self.revision if ending is not None and self.status == ending.status else None


_LOCK = """
SELECT "id","status","executor","attempt","revision","stopRequestedAt","userId","agentGraphId","parentExecutionId"
FROM "AgentGraphExecution" WHERE "id" {among}
ORDER BY "id"{lock}
"""

# Conditional all the same: whatever a reader of this believes about locks, no end is ever overwritten.
_FENCE = '"id" = ? AND "status" = \'RUNNING\' AND "executor" = ? AND "attempt" = ?'
_TOUCH = f'UPDATE "AgentGraphExecution" SET "revision" = ? WHERE {_FENCE}'
_END = (
    'UPDATE "AgentGraphExecution" SET "revision" = ?, "status" = ?, "outputs" = ?, "stats" = ?, "error" = ?, '
    f'"endedAt" = ? WHERE {_FENCE}'
)
# The same for any number of rows at once, which costs PostgreSQL half.  Its status is compared in a way that no index
# can help with: by key it is found at once, among all that are RUNNING again and again.
_MANY_FENCE = """e."id" = x.i AND e."attempt" = x.a AND e."executor" = ? AND e."status" || '' = 'RUNNING'"""
_TOUCH_MANY = f"""
UPDATE "AgentGraphExecution" e SET "revision" = x.r
FROM json_to_recordset(?::json) AS x (r int, i text, a int) WHERE {_MANY_FENCE}
"""
_END_MANY = f"""
UPDATE "AgentGraphExecution" e SET "revision" = x.r, "status" = x.s, "outputs" = x.o, "stats" = x.t, "error" = x.e,
"endedAt" = ?
FROM json_to_recordset(?::json) AS x (r int, s text, o text, t text, e text, i text, a int) WHERE {_MANY_FENCE}
"""
_OUTPUT = """
INSERT INTO "AgentNodeOutput"
("agentGraphExecutionId","number","afterSequence","agentNodeExecutionId","pin","value","revision")
VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING
"""


def recorder(
    database: Database, lease: Lease, tell_draft: Callable[[Draft | None], None] | None = None
) -> Callable[[Connection, list[Record]], list[bool]]:
    """Make the function that an executor's group commit writes with.

    It answers per record whether it was written.  False means that the execution is no longer this executor's
    (another took it over, or it was ended): none of its rows were written, and its run is to be dropped.

    Args:
        database: Where to write.
        lease: Of the executor.
        tell_draft: Called with every try, before its rows are written: with what it changes where that is little and
            of one execution, else with None.
    """
    leases, news = Leases(database), ExecutionNews(database)

    def write(connection: Connection, records: list[Record]) -> list[bool]:
        leases.bump(connection, lease)
        stored = _lock(database, connection, {record.execution_id for record in records})
        writing = _Writing(database, lease)
        revisions: list[int | None] = []
        for record in records:
            row = stored.get(record.execution_id)
            revision = None if row is None else row.advance(lease, record)
            revisions.append(revision)
            if revision is not None:
                writing.add(record, revision)
                writing.count(connection, record)
        if tell_draft is not None:
            tell_draft(writing.draft(records, stored))
        writing.write(connection)
        news.tell(connection, _ends(records, stored))
        crash_point("record.written")
        if writing.ends:
            crash_point("end.written")
        return [revision is not None for revision in revisions]

    return write


def _ends(records: list[Record], stored: dict[str, _Stored]) -> list[ExecutionEnd]:
    """Tell which executions end with this commit, parts of others left out: whoever waits for those hears of them."""
    ends: list[ExecutionEnd] = []
    for record in records:
        row = stored.get(record.execution_id)
        if record.ending is not None and row is not None and row.is_advanced and not row.is_part:
            end = record.ending
            ends.append(ExecutionEnd(record.execution_id, row.user_id, row.graph_id, end.status.value, end.error))
    return ends


class _Writing:
    """What one commit writes, collected by statement."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self._db, self._lease = database, lease
        now = clock.now()
        self._now, self._now_ms = database.to_column(now), clock.to_ms(now)
        self._touches: list[tuple[Any, ...]] = []
        self._rows: dict[str, Columns] = {}
        self._outputs: list[tuple[Any, ...]] = []
        self._unfinished: list[tuple[Record, Ending, int]] = []
        self._counts = BlockCounts(lease.id)
        self.ends: list[tuple[Any, ...]] = []

    def add(self, record: Record, revision: int) -> None:
        which, end = (record.execution_id, record.attempt), record.ending
        if end is None:
            self._touches.append((revision, *which))
        else:
            self.ends.append((revision, end.status.value, end.outputs, end.stats, end.error, *which))
            if end.status is not ExecutionStatus.COMPLETED:
                self._unfinished.append((record, end, revision))
        for node in record.nodes:
            # The last one of an id counts: one commit may hold the start and the end of a node.
            self._rows[node.id] = columns(record.execution_id, node, revision)
        for output in record.outputs:
            self._outputs.append(
                (
                    record.execution_id,
                    output.number,
                    output.after_sequence,
                    output.node_execution_id,
                    output.pin,
                    output.value,
                    revision,
                )
            )

    def count(self, c: Connection, record: Record) -> None:
        """Count the ends of nodes in it for the hour's counts, each once."""
        if record.is_repeated:
            self._counts.add_new(self._db, c, record.nodes)
            return
        record.is_repeated = True
        for node in record.nodes:
            self._counts.add(node)

    def draft(self, records: list[Record], stored: dict[str, _Stored]) -> Draft | None:
        """Give what is written if it is of one execution, and its rows hold all that a reader needs to know."""
        if len(records) != 1 or records[0].outputs or self._unfinished or not (self.ends or self._touches):
            return None
        record, row = records[0], stored[records[0].execution_id]
        if not row.is_advanced:
            return None
        end = record.ending
        draft_end = None if end is None else DraftEnd(end.status, end.outputs, end.stats, end.error, self._now_ms)
        return Draft(record.execution_id, row.revision, list(self._rows.values()), draft_end)

    def write(self, c: Connection) -> None:
        if self._db.provider == "postgresql":
            self._move_many(c)
        else:
            self._move_each(c)
        write_node_rows(self._db, c, list(self._rows.values()))
        self._counts.write(self._db, c)
        if self._outputs:
            c.execute(self._db.sql(_OUTPUT), self._outputs)
        for record, end, revision in self._unfinished:
            # Anew: a commit whose answer was lost is written again.
            record.left_running = ends = Ends()
            end_running_nodes(self._db, c, ends, record.execution_id, end.status, end.error, revision)

    def _move_each(self, c: Connection) -> None:
        lease_id = self._lease.id
        if self._touches:
            c.execute(_TOUCH, [(revision, id_, lease_id, attempt) for revision, id_, attempt in self._touches])
        if self.ends:
            c.execute(_END, [(*end, self._now, id_, lease_id, attempt) for *end, id_, attempt in self.ends])

    def _move_many(self, c: Connection) -> None:
        if self._touches:
            rows = self._db.to_recordset("ria", self._touches)
            c.execute(self._db.sql(_TOUCH_MANY), (rows, self._lease.id))
        if self.ends:
            rows = self._db.to_recordset("rsoteia", self.ends)
            c.execute(self._db.sql(_END_MANY), (self._now, rows, self._lease.id))


def _lock(db: Database, c: Connection, ids: set[str]) -> dict[str, _Stored]:
    """Read executions that nobody else changes before our commit."""
    lock = " FOR UPDATE" if db.provider == "postgresql" else ""
    rows = c.execute(db.sql(_LOCK.format(among=db.among, lock=lock)), (db.to_list(sorted(ids)),)).all()
    return {
        row[0]: _Stored(row[1], row[2], row[3], row[4], row[5] is not None, row[6], row[7], row[8] is not None)
        for row in rows
    }
