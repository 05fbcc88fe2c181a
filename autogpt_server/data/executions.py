"""Reading executions: one, a page, what changed since a revision.  Writing them stands in queue.py and records.py."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, decode_cursor, encode_cursor, page_by_id
from autogpt_server.errors import ExecutionNotFound, InvalidError, Problem
from autogpt_server.model.execution import ExecutionStatus, GraphExecution, LogEntry, NodeExecution, NodeOutput, Outputs
from autogpt_server.model.jsonvalue import loads

log = logging.getLogger(__name__)

_GRAPH_COLUMNS = (
    '"id","agentGraphId","agentGraphVersion","userId","status","inputs","outputs","stats","error","attempt","deaths",'
    '"depth","revision","parentExecutionId","stopRequestedAt","createdAt","startedAt","endedAt","priority",'
    '"pauseRequestedAt","pausedMilliseconds","rerunOfId","rerunFromNodeId","scheduleId","scheduledAt"'
)
_NODE_COLUMNS = (
    '"id","agentGraphExecutionId","agentNodeId","sequence","status","inputData","outputData","error","attempt",'
    '"revision","queuedAt","startedAt","endedAt","tries","logs"'
)
_EXECUTION = f'SELECT {_GRAPH_COLUMNS} FROM "AgentGraphExecution" WHERE "id" = ?'
_NODES = f'SELECT {_NODE_COLUMNS} FROM "AgentNodeExecution" WHERE "agentGraphExecutionId" = ?'

_RECENT = """
SELECT "id","status","revision" FROM "AgentGraphExecution" WHERE "agentGraphId" = ? AND "userId" = ?
ORDER BY "id" DESC LIMIT ?
"""

_IDS_AFTER = """
SELECT "id" FROM "AgentGraphExecution" WHERE "agentGraphId" = ? AND "userId" = ? AND "id" > ? ORDER BY "id" LIMIT ?
"""

_STREAMED = """
SELECT "agentNodeExecutionId","pin","value" FROM "AgentNodeOutput" WHERE "agentGraphExecutionId" = ? ORDER BY "number"
"""

_OUTPUTS = """
SELECT o."number",n."id",n."agentNodeId",o."pin",o."value",o."revision"
FROM "AgentNodeOutput" o JOIN "AgentNodeExecution" n ON n."id" = o."agentNodeExecutionId"
WHERE o."agentGraphExecutionId" = ? AND o."number" > ? AND o."revision" > ? AND o."revision" <= ? ORDER BY o."number"
"""

AnyRow = Row

_NO_OUTPUTS: Mapping[str, Outputs] = MappingProxyType({})

#: Largest number that the column holds.
_MAX_SEQUENCE = 2**31 - 1
#: Node executions that one call of ``changes`` returns at most.
MAX_CHANGES = 1000


class NodeChange(NamedTuple):
    """A node execution as a commit left it: the columns, with their JSON unread, as most of it is only passed on."""

    id: str
    execution_id: str
    node_id: str
    sequence: int | None
    status: str
    input_data: str
    #: Pairs of pin and value; None until it ends.
    output_data: str | None
    error: str | None
    attempt: int
    revision: int
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    tries: int
    #: None where the block wrote nothing.
    logs: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What was committed of an execution, up to ``revision``."""

    execution: GraphExecution
    nodes: list[NodeChange]
    outputs: list[NodeOutput]
    revision: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to ask for now."""
        return self.revision == self.execution.revision


@dataclass(frozen=True, slots=True)
class Standing:
    """The little of an execution that says whether there is more to come."""

    id: str
    status: ExecutionStatus
    revision: int


class Executions:
    """Reads of the two execution tables.  Blocking: call in a thread from a loop."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, user_id: str, execution_id: str) -> GraphExecution:
        """Read one execution.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
        """
        with self._db.read() as c:
            row = c.execute(self._db.sql(_EXECUTION + ' AND "userId" = ?'), (execution_id, user_id)).first()
        if row is None:
            raise ExecutionNotFound(execution_id)
        return self._graph_execution(row)

    def list(self, user_id: str, graph_id: str | None, *, limit: int, cursor: str | None) -> Page[GraphExecution]:
        """Read a page of a user's executions, newest first, of one graph or of all."""
        where, values = ['"userId" = ?'], [user_id]
        if graph_id is not None:
            where.append('"agentGraphId" = ?')
            values.append(graph_id)
        if cursor is not None:
            where.append('"id" < ?')
            values.append(_one_text(decode_cursor(cursor)))
        text = (
            f'SELECT {_GRAPH_COLUMNS} FROM "AgentGraphExecution" WHERE {" AND ".join(where)} ORDER BY "id" DESC LIMIT ?'
        )
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (*values, limit + 1)).all()
        return page_by_id(rows, limit, self._graph_execution)

    def recent(self, user_id: str, graph_id: str, limit: int) -> Sequence[Standing]:
        """Read how the latest executions of a graph stand, the newest first."""
        with self._db.read() as c:
            rows = c.execute(self._db.sql(_RECENT), (graph_id, user_id, limit)).all()
        return [Standing(row[0], ExecutionStatus(row[1]), row[2]) for row in rows]

    def ids_after(self, user_id: str, graph_id: str, after: str, limit: int) -> Sequence[str]:
        """Read the ids of a graph's executions that sort after a text, in order."""
        with self._db.read() as c:
            return c.execute(self._db.sql(_IDS_AFTER), (graph_id, user_id, after, limit)).scalars()

    def node_executions(self, execution_id: str, *, limit: int, cursor: str | None = None) -> Page[NodeExecution]:
        """Read a page of an execution's nodes in the order in which they ended; those still running come last."""
        after = 0 if cursor is None else decode_cursor(cursor)
        rows: list[AnyRow] = []
        with self._db.read() as c:
            if isinstance(after, int) and 0 <= after <= _MAX_SEQUENCE:
                text = _NODES + ' AND "sequence" > ? ORDER BY "sequence" LIMIT ?'
                rows += c.execute(self._db.sql(text), (execution_id, after, limit + 1)).all()
                after = ""
            if len(rows) <= limit:
                text = _NODES + ' AND "sequence" IS NULL AND "id" > ? ORDER BY "id" LIMIT ?'
                missing = limit + 1 - len(rows)
                rows += c.execute(self._db.sql(text), (execution_id, _one_text(after), missing)).all()
            streamed = self._streamed(c, execution_id, rows)
        items = [self._node_execution(row, streamed) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items, None)
        last = items[-1]
        return Page(items, encode_cursor(last.id if last.sequence is None else last.sequence))

    def history(self, execution_id: str) -> list[NodeExecution]:
        """Read every recorded end of an execution, by sequence."""
        with self._db.read() as c:
            rows = c.execute(
                self._db.sql(_NODES + ' AND "sequence" IS NOT NULL ORDER BY "sequence"'), (execution_id,)
            ).all()
        return [self._node_execution(row) for row in rows]

    def revision(self, execution_id: str) -> int:
        """Read how often an execution has changed: the cheap look that says whether ``changes`` has news.

        Raises:
            ExecutionNotFound: There is none of this id.
        """
        with self._db.read() as c:
            text = self._db.sql('SELECT "revision" FROM "AgentGraphExecution" WHERE "id" = ?')
            found = c.execute(text, (execution_id,)).scalar()
        if found is None:
            raise ExecutionNotFound(execution_id)
        return found

    def changes(self, execution_id: str, after: int, after_output: int = 0) -> Changes:
        """Read an execution, and what of it a commit with a revision above ``after`` wrote, by revision.

        States between two reads collapse into the latest.  At most ``MAX_CHANGES`` nodes are returned, cut
        between two revisions where more have changed; ask again with ``revision``.

        Args:
            execution_id: Of the execution.
            after: The last revision that the caller knows.
            after_output: The number of the last streamed output that it knows, where it knows one: spares looking
                through those before.

        Raises:
            ExecutionNotFound: There is none of this id.
        """
        with self._db.read() as c:
            row = c.execute(self._db.sql(_EXECUTION), (execution_id,)).first()
            if row is None:
                raise ExecutionNotFound(execution_id)
            execution = self._graph_execution(row)
            if execution.revision <= after:
                return Changes(execution, [], [], execution.revision)
            # Never beyond the execution's own revision: a commit may have come between the two reads.
            text = _NODES + ' AND "revision" > ? AND "revision" <= ? ORDER BY "revision","sequence" LIMIT ?'
            rows = c.execute(self._db.sql(text), (execution_id, after, execution.revision, MAX_CHANGES + 1)).all()
            if len(rows) > MAX_CHANGES:
                rows = self._whole_revisions(c, execution_id, rows)
                revision = rows[-1][9]
            else:
                revision = execution.revision
            outputs = c.execute(self._db.sql(_OUTPUTS), (execution_id, after_output, after, revision)).all()
        return Changes(
            execution,
            [self._node_change(row) for row in rows],
            [_node_output(row) for row in outputs],
            revision,
        )

    def _whole_revisions(self, c: Connection, execution_id: str, rows: Sequence[AnyRow]) -> Sequence[AnyRow]:
        last = rows[-1][9]
        whole = [row for row in rows if row[9] < last]
        if whole:
            return whole
        text = _NODES + ' AND "revision" = ? ORDER BY "sequence"'
        return c.execute(self._db.sql(text), (execution_id, last)).all()

    def _streamed(self, c: Connection, execution_id: str, rows: Sequence[AnyRow]) -> dict[str, Outputs]:
        """Read what nodes that run have streamed so far, by node execution; a row has its outputs from its end on."""
        found: dict[str, list[tuple[str, Any]]] = {row[0]: [] for row in rows if row[3] is None}
        if not found:
            return {}
        for owner, pin, value in c.execute(self._db.sql(_STREAMED), (execution_id,)):
            if owner in found:
                found[owner].append((pin, loads(value)))
        return {owner: tuple(pairs) for owner, pairs in found.items()}

    def statuses(self, execution_ids: Sequence[str]) -> dict[str, ExecutionStatus]:
        """Read the statuses of some executions; unknown ones are left out."""
        if not execution_ids:
            return {}
        marks = ",".join("?" * len(execution_ids))
        with self._db.read() as c:
            rows = c.execute(
                self._db.sql(f'SELECT "id","status" FROM "AgentGraphExecution" WHERE "id" IN ({marks})'),
                tuple(execution_ids),
            ).all()
        return {row[0]: ExecutionStatus(row[1]) for row in rows}

    def _graph_execution(self, row: AnyRow) -> GraphExecution:
        return GraphExecution(
            id=row[0],
            graph_id=row[1],
            graph_version=row[2],
            user_id=row[3],
            status=ExecutionStatus(row[4]),
            inputs=_object(row, 5),
            outputs=_object(row, 6),
            stats=_object(row, 7),
            error=row[8],
            attempt=row[9],
            deaths=row[10],
            depth=row[11],
            revision=row[12],
            parent_execution_id=row[13],
            stop_requested_at=self._db.from_column(row[14]),
            created_at=_required(self._db.from_column(row[15])),
            started_at=self._db.from_column(row[16]),
            ended_at=self._db.from_column(row[17]),
            priority=row[18],
            pause_requested_at=self._db.from_column(row[19]),
            paused=timedelta(milliseconds=row[20]),
            rerun_of_id=row[21],
            rerun_from_node_id=row[22],
            schedule_id=row[23],
            scheduled_at=self._db.from_column(row[24]),
        )

    def _node_change(self, row: AnyRow) -> NodeChange:
        times = map(self._db.from_column, row[10:13])
        return NodeChange(*row[:10], *times, *row[13:])

    def _node_execution(self, row: AnyRow, streamed: Mapping[str, Outputs] = _NO_OUTPUTS) -> NodeExecution:
        return NodeExecution(
            id=row[0],
            execution_id=row[1],
            node_id=row[2],
            sequence=row[3],
            status=ExecutionStatus(row[4]),
            input_data=loads(row[5]),
            output_data=streamed.get(row[0], ())
            if row[6] is None
            else tuple((pin, value) for pin, value in loads(row[6])),
            error=row[7],
            attempt=row[8],
            revision=row[9],
            queued_at=self._db.from_column(row[10]),
            started_at=self._db.from_column(row[11]),
            ended_at=self._db.from_column(row[12]),
            tries=row[13],
            logs=read_logs(row[14]),
        )


def read_logs(text: str | None) -> tuple[LogEntry, ...]:
    """Read the column ``logs`` of a node execution."""
    return () if text is None else tuple(LogEntry(**entry) for entry in loads(text))


def _required(moment: Any) -> Any:
    if moment is None:
        raise ValueError("a stored execution has no createdAt")
    return moment


def _object(row: AnyRow, place: int) -> dict[str, Any]:
    """Read a JSON object of an execution.  A damaged one is told in the log, and keeps nobody from reading the rest."""
    text = row[place]
    if text is None:
        return {}
    try:
        return loads(text)
    except ValueError:
        log.error("a column of execution %s is no JSON: %.80r", row[0], text)
        return {}


def _node_output(row: AnyRow) -> NodeOutput:
    return NodeOutput.model_construct(
        number=row[0], node_execution_id=row[1], node_id=row[2], pin=row[3], value=loads(row[4]), revision=row[5]
    )


def _one_text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidError(
            "Bad cursor.", [Problem("cursor", "it belongs to another list", "use next_cursor of this list")]
        )
    return value
