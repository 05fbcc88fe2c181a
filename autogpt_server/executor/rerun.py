"""Runs an execution again: a new execution that takes over what the first one recorded, as far as it still holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from autogpt_server.data.accepting import Accepted, Submission, acceptor
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.graph_versions import Wanted, find_version, load_version
from autogpt_server.data.history import read_history
from autogpt_server.data.kept_history import copy_kept
from autogpt_server.data.queue import NewExecution
from autogpt_server.errors import ConflictError, GraphNotFound
from autogpt_server.events.nudge import Topic, send_nudge
from autogpt_server.executor.compiled_graphs import CompiledGraphs
from autogpt_server.executor.submit import check_request, checked_inputs
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.execution import ExecutionStatus, GraphExecution
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import new_id
from autogpt_server.model.rerun import Kept, Rerun, keep
from autogpt_server.model.turns import lane_of
from autogpt_server.settings import Settings


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """What is to be different this time."""

    #: The node that runs again, with everything that it leads to; None for what failed or never ended.
    from_node_id: str | None = None
    #: None for those of the first execution.
    inputs: dict[str, Any] | None = None
    #: None for that of the first execution.
    graph_version: int | None = None
    #: None for that of the first execution.
    priority: int | None = None
    idempotency_key: str | None = None


class Reruns:
    """Accepts reruns."""

    def __init__(self, settings: Settings, database: Database, registry: BlockRegistry) -> None:
        self._settings, self._db = settings, database
        self._executions = Executions(database)
        self._compiled = CompiledGraphs(database, registry)

    async def rerun(self, user_id: str, execution_id: str, request: RerunRequest) -> tuple[str, ExecutionStatus]:
        """Accept an execution that runs another one again; when this returns, it is durable.

        Returns:
            Its id and status.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
            GraphNotFound: The graph was deleted, or has no such version.
            BlockNotFound: The graph uses a block that is not there any more.
            ConflictError: The execution has not ended, or the key was used for something else.
            InvalidError: The request does not fit the graph, or what was recorded does not fit the request.
            Unavailable: The database is away.
        """
        first = await asyncio.to_thread(self._executions.get, user_id, execution_id)
        check_request(request.idempotency_key, first.priority if request.priority is None else request.priority)
        if not first.status.is_final:
            raise ConflictError(
                f"Execution {first.id} is {first.status} and cannot be run again before its end; stop it."
            )
        version = first.graph_version if request.graph_version is None else request.graph_version
        wanted = Wanted(user_id, first.graph_id, version)
        await asyncio.to_thread(find_version, self._db, wanted)
        compiled = await self._compiled.get(first.graph_id, version)

        def accept() -> Accepted:
            original = load_version(self._db, first.graph_id, first.graph_version)
            graph = original if version == first.graph_version else load_version(self._db, first.graph_id, version)
            inputs = first.inputs if request.inputs is None else request.inputs
            new = _new_execution(first, graph, inputs, request)
            limit = self._settings.max_node_executions
            rerun = Rerun(original, graph, compiled, inputs, request.from_node_id, limit)
            history = read_history(self._db, first.id)
            kept = keep(rerun, history.ends, history.streamed)
            accepted = self._store(Submission(wanted, version, [new]), first.id, kept)
            if accepted is None:
                raise GraphNotFound(first.graph_id, version)
            return accepted

        ((accepted_id, status),) = await asyncio.to_thread(accept)
        send_nudge(self._settings.run_dir, Topic.QUEUE)
        return accepted_id, status

    def _store(self, submission: Submission, original_id: str, kept: Kept) -> Accepted | None:
        with self._db.write() as c:
            (accepted,) = acceptor(self._db)(c, [submission])
            new_id = submission.executions[0].id
            if accepted is not None and accepted[0][0] == new_id:
                copy_kept(self._db, c, original_id, new_id, kept)
        return accepted


def _new_execution(first: GraphExecution, graph: Graph, inputs: dict[str, Any], request: RerunRequest) -> NewExecution:
    lane, lane_limit = lane_of(graph.id, graph.policy.max_concurrent_executions, 0)
    return NewExecution(
        new_id(),
        graph.id,
        graph.version,
        first.user_id,
        checked_inputs(graph, inputs, "inputs"),
        request.idempotency_key,
        lane=lane,
        lane_limit=lane_limit,
        priority=first.priority if request.priority is None else request.priority,
        rerun_of_id=first.id,
        rerun_from_node_id=request.from_node_id,
    )
