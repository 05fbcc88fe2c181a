"""Accepting executions in a group commit: those for a version of a graph that is still the one that was wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.graph_versions import Wanted, find_stale
from autogpt_server.data.leases import Lease
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.service.crash_points import crash_point

Accepted = list[tuple[str, ExecutionStatus]]
"""Ids and statuses, in the order of what was submitted."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An executor's word that it takes one execution at once, and the socket to which that is sent."""

    lease: Lease
    socket: str


@dataclass(slots=True, eq=False)
class Submission:
    """Executions that are accepted together, and the version for which they were made."""

    wanted: Wanted
    version: int
    executions: list[NewExecution]
    #: Takes an offer, if there is one.  Only for a single execution that no limit is about.
    take_offer: Callable[[], Offer | None] | None = None
    #: Whose executor it was claimed for with its acceptance.
    handed_to: Offer | None = None


def acceptor(database: Database) -> Callable[[Connection, list[Submission]], list[Accepted | None]]:
    """Make the function that a submitter's group commit writes with.

    It answers None for executions of a version that is not wanted any more, because another was made the active one
    or the graph was deleted; none of theirs is stored.  So nobody has to look before, and one look serves all that
    are accepted together.

    What is accepted alone is claimed at once for an executor that offered itself, if one has.
    """
    queue = ExecutionQueue(database)

    def write(connection: Connection, submissions: list[Submission]) -> list[Accepted | None]:
        stale = find_stale(database, connection, ((one.wanted, one.version) for one in submissions))
        fresh = [one.executions for one in submissions if one.wanted not in stale]
        accepted = iter(queue.accept(connection, fresh) if fresh else ())
        results = [None if one.wanted in stale else next(accepted) for one in submissions]
        if len(submissions) == 1 and results[0] is not None:
            _hand_over(queue, connection, submissions[0], results[0])
        return results

    return write


def _hand_over(queue: ExecutionQueue, c: Connection, submission: Submission, accepted: Accepted) -> None:
    submission.handed_to = None
    execution = submission.executions[0]
    # Another id: its idempotency key was used before.
    if submission.take_offer is None or accepted != [(execution.id, ExecutionStatus.QUEUED)]:
        return
    offer = submission.take_offer()
    if offer is not None and queue.hand_over(c, offer.lease, execution.id):
        submission.handed_to = offer
        crash_point("handover.written")
