"""The one way in: checks the input, stores the execution as QUEUED in a group commit, then nudges the executors.

REST, RPC and blocks that execute other graphs all come through here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from autogpt_server.data import graph_versions
from autogpt_server.data.commit import GroupCommitter
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.queue import ExecutionQueue, NewExecution, inputs_text
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.events.nudge import Topic, send_nudge
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.check import check_inputs
from autogpt_server.model.execution import ExecutionStatus, GraphExecution
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import new_id
from autogpt_server.model.jsonvalue import JsonValueError, plain
from autogpt_server.settings import Settings

#: Seconds that a submission waits for a database that is away before it is refused.
ACCEPT_PATIENCE = 5.0
#: Executions that one batch may hold.
MAX_BATCH = 10_000
#: Characters of an idempotency key.
MAX_KEY = 255
#: Graph versions kept in memory.
_KEPT_GRAPHS = 256

_Accepted = list[tuple[str, ExecutionStatus]]


class Submitter:
    """Accepts executions.  Create it on the loop that uses it; ``close`` it there."""

    def __init__(self, settings: Settings, registry: BlockRegistry, database: Database) -> None:
        self._settings, self._registry, self._db = settings, registry, database
        self._queue = ExecutionQueue(database)
        self._executions = Executions(database)
        self._graphs: OrderedDict[tuple[str, int], Graph] = OrderedDict()
        self._committer: GroupCommitter[list[NewExecution], _Accepted] = GroupCommitter(
            database, self._queue.accept, owner=lambda batch: batch[0].id, patience=ACCEPT_PATIENCE
        )

    async def submit(
        self,
        user_id: str,
        graph_id: str,
        inputs: dict[str, Any],
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
        parent_execution_id: str | None = None,
        depth: int = 0,
    ) -> tuple[str, ExecutionStatus]:
        """Accept one execution; when this returns, it is durable.

        Args:
            user_id: Who executes; must own the graph.
            graph_id: What to execute.
            inputs: Values by input name, or by pin where the graph has no input blocks.
            version: Of the graph; None takes the active one.
            idempotency_key: A second submission of the user with this key answers with the first execution.
            parent_execution_id: The execution that executes this one as a part of itself.
            depth: How many executions stand above this one.

        Returns:
            The execution's id and status.

        Raises:
            GraphNotFound: Unknown, or another user's.
            InvalidError: The inputs do not fit; names every problem.
            ConflictError: The key was used with other inputs.
            Unavailable: The database is away.
        """
        if idempotency_key is not None:
            _check_key(idempotency_key)
        graph = await self._graph(user_id, graph_id, version)
        text = self._inputs(graph, inputs, "")
        new = NewExecution(
            new_id(), graph.id, graph.version, user_id, text, idempotency_key, parent_execution_id, depth
        )
        return (await self._accept([new]))[0]

    async def submit_batch(
        self, user_id: str, graph_id: str, inputs: list[dict[str, Any]], *, version: int | None = None
    ) -> list[str]:
        """Accept many executions of one graph, all or none; ids in the order of the inputs.

        Raises:
            GraphNotFound, InvalidError, Unavailable: As ``submit``; paths name the place in the batch.
        """
        if not 0 < len(inputs) <= MAX_BATCH:
            raise InvalidError(
                "The batch was refused.",
                [Problem("inputs", f"holds {len(inputs)} executions", f"send between 1 and {MAX_BATCH:,}")],
            )
        graph = await self._graph(user_id, graph_id, version)
        problems: list[Problem] = []
        new: list[NewExecution] = []
        for i, one in enumerate(inputs):
            try:
                new.append(
                    NewExecution(new_id(), graph.id, graph.version, user_id, self._inputs(graph, one, f"inputs[{i}]"))
                )
            except InvalidError as error:
                problems += error.problems
        if problems:
            raise InvalidError("The batch was refused; nothing of it was accepted.", problems[:100])
        return [execution_id for execution_id, _ in await self._accept(new)]

    async def stop(self, user_id: str, execution_id: str) -> GraphExecution:
        """Ask an execution, and those it started, to stop.  Harmless when repeated or too late.

        Returns:
            The execution after the request: TERMINATED when it had not started, else still RUNNING for a moment.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
        """
        await asyncio.to_thread(self._queue.request_stop, user_id, execution_id)
        self._nudge()
        send_nudge(self._settings.run_dir, Topic.CHANGES, [execution_id])
        return await asyncio.to_thread(self._executions.get, user_id, execution_id)

    async def close(self) -> None:
        """Write what was accepted, then refuse more."""
        await self._committer.close()

    async def _accept(self, new: list[NewExecution]) -> _Accepted:
        accepted = await self._committer.put(new)
        self._nudge()
        return accepted

    def _nudge(self) -> None:
        send_nudge(self._settings.run_dir, Topic.QUEUE)

    async def _graph(self, user_id: str, graph_id: str, version: int | None) -> Graph:
        """Find what a user may execute.  Versions never change, so only the look for the right one is repeated."""
        found = await asyncio.to_thread(graph_versions.find_version, self._db, user_id, graph_id, version)
        key = (graph_id, found)
        graph = self._graphs.get(key)
        if graph is None:
            graph = await asyncio.to_thread(graph_versions.load_version, self._db, *key)
            self._graphs[key] = graph
            if len(self._graphs) > _KEPT_GRAPHS:
                self._graphs.popitem(last=False)
        else:
            self._graphs.move_to_end(key)
        return graph

    def _inputs(self, graph: Graph, inputs: dict[str, Any], path: str) -> str:
        problems = check_inputs(graph, self._registry, inputs)
        if problems:
            problems = [Problem(_join(path, p.path), p.message, p.fix) for p in problems]
            raise InvalidError("The inputs do not fit the graph.", problems)
        try:
            return inputs_text(plain(inputs))
        except JsonValueError as error:
            raise InvalidError(
                "The inputs cannot be stored.", [Problem(_join(path, error.place), error.reason)]
            ) from None


def _join(path: str, rest: str) -> str:
    return f"{path}.{rest}" if path and rest else path or rest


def _check_key(key: str) -> None:
    if not key or len(key) > MAX_KEY or not key.isprintable():
        raise InvalidError(
            "The idempotency key was refused.",
            [
                Problem(
                    "Idempotency-Key", "must be printable text", f"send 1 to {MAX_KEY} characters, a UUID for example"
                )
            ],
        )
