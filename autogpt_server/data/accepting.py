"""Accepting executions in a group commit: those for a version of a graph that is still the one that was wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from autogpt_server.data.database import Database
from autogpt_server.data.graph_versions import Wanted, find_stale
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.model.execution import ExecutionStatus

Accepted = list[tuple[str, ExecutionStatus]]
"""Ids and statuses, in the order of what was submitted."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Executions that are accepted together, and the version for which they were made."""

    wanted: Wanted
    version: int
    executions: list[NewExecution]


def acceptor(database: Database) -> Callable[[Connection, list[Submission]], list[Accepted | None]]:
    """Make the function that a submitter's group commit writes with.

    It answers None for executions of a version that is not wanted any more, because another was made the active one
    or the graph was deleted; none of theirs is stored.  So nobody has to look before, and one look serves all that
    are accepted together.
    """
    queue = ExecutionQueue(database)

    def write(connection: Connection, submissions: list[Submission]) -> list[Accepted | None]:
        stale = find_stale(database, connection, ((one.wanted, one.version) for one in submissions))
        fresh = [one.executions for one in submissions if one.wanted not in stale]
        accepted = iter(queue.accept(connection, fresh) if fresh else ())
        return [None if one.wanted in stale else next(accepted) for one in submissions]

    return write
