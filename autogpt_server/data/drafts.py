"""Drafts: what a commit is about to change of an execution, told before it is durable.

Whoever shows the execution prepares its events while the rows are written and the disk is waited for.  A draft is
worth nothing until its name is told after the commit, and nothing to whoever does not know the execution exactly as
it was before: they read the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

import orjson

from autogpt_server.data.executions import Changes, NodeChange
from autogpt_server.data.node_rows import Columns
from autogpt_server.model.clock import from_ms
from autogpt_server.model.execution import ExecutionStatus, GraphExecution
from autogpt_server.model.jsonvalue import loads

#: Begins the names of drafts, which stand among the ids in a nudge.
DRAFT_PREFIX = "draft:"
#: Rows that one draft has at least and at most, and their characters: fewer rows are read as fast as a draft is, and it
#: fits into one datagram and costs a large commit nothing.
_LEAST_ROWS, _MAX_ROWS, _MAX_CHARACTERS = 5, 400, 100_000
#: Where columns stand that ``Draft.of`` measures.
_INPUTS, _OUTPUTS, _LOGS = 5, 6, 10


class DraftEnd(NamedTuple):
    """The end of an execution as its row says it; outputs and stats are JSON."""

    status: str
    outputs: str
    stats: str
    error: str | None
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Draft:
    """The next revision of an execution."""

    execution_id: str
    revision: int
    rows: Sequence[Columns]
    end: DraftEnd | None
    #: Of this very try to commit; given by whoever sends it.
    name: str = ""

    @property
    def is_worthwhile(self) -> bool:
        """Whether it shall be sent: it saves something, and is not too large."""
        if not _LEAST_ROWS <= len(self.rows) <= _MAX_ROWS:
            return False
        size = sum(len(row[_INPUTS]) + len(row[_OUTPUTS] or "") + len(row[_LOGS] or "") for row in self.rows)
        return size + (0 if self.end is None else len(self.end.outputs)) <= _MAX_CHARACTERS

    def pack(self) -> bytes:
        """Write it for ``unpack``.  Its execution's id stands first, for whoever wants to see no more."""
        end = None if self.end is None else tuple(self.end)
        return self.execution_id.encode() + b" " + orjson.dumps([self.name, self.revision, end, self.rows])

    @staticmethod
    def execution_of(text: bytes) -> str:
        """Read no more than whose draft a text is."""
        return text.partition(b" ")[0].decode("ascii", "replace")

    @classmethod
    def unpack(cls, text: bytes) -> Self | None:
        """Read a draft; None where the text is none."""
        execution_id, _, rest = text.partition(b" ")
        try:
            name, revision, end, rows = orjson.loads(rest)
            return cls(execution_id.decode("ascii"), revision, rows, None if end is None else DraftEnd(*end), name)
        except (ValueError, TypeError):
            return None

    def changes(self, before: GraphExecution) -> Changes:
        """Give what a look at the rows finds after the commit.

        Args:
            before: The execution at the revision before this one.
        """
        news: dict[str, Any] = {"revision": self.revision}
        if self.end is not None:
            news |= {
                "status": ExecutionStatus(self.end.status),
                "outputs": loads(self.end.outputs),
                "stats": loads(self.end.stats),
                "error": self.end.error,
                "ended_at": from_ms(self.end.ended_ms),
            }
        nodes = [_node_change(row) for row in self.rows]
        nodes.sort(key=lambda node: node.sequence or 0)
        return Changes(before.model_copy(update=news), nodes, [], self.revision)


def _node_change(row: Columns) -> NodeChange:
    *facts, tries, logs, revision, queued, started, ended = row
    return NodeChange._make((*facts, revision, _moment(queued), _moment(started), _moment(ended), tries, logs))


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)
