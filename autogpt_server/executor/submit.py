"""The one way in: checks the input, stores the execution as QUEUED in a group commit, then nudges the executors.

REST, RPC and blocks that execute other graphs all come through here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from autogpt_server.credentials.check import CredentialsCheck
from autogpt_server.data.accepting import Accepted, Offer, Submission, acceptor
from autogpt_server.data.commit import GroupCommitter
from autogpt_server.data.controls import Controls, Reached
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.graph_versions import Wanted, find_version, load_version
from autogpt_server.data.leases import Lease
from autogpt_server.data.metering import Metered, count_submissions
from autogpt_server.data.queue import NewExecution, inputs_text
from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.events.handover import Offers
from autogpt_server.events.nudge import Nudger, Topic
from autogpt_server.executor import handed
from autogpt_server.model.check import check_inputs
from autogpt_server.model.execution import ExecutionStatus, GraphExecution
from autogpt_server.model.graph import Graph
from autogpt_server.model.idempotency import check_key, key_in_batch
from autogpt_server.model.ids import canonical_id, new_id
from autogpt_server.model.jsonvalue import JsonValueError, plain
from autogpt_server.model.kept import keep
from autogpt_server.model.turns import MAX_PRIORITY, MIN_PRIORITY, lane_of
from autogpt_server.service.crash_points import crash_point
from autogpt_server.settings import Settings

K = TypeVar("K")
V = TypeVar("V")

#: Seconds that a submission waits for a database that is away before it is refused.
ACCEPT_PATIENCE = 5.0
#: Where the inputs of one execution of a batch stand.
_IN_BATCH = "inputs[{}]"
#: Executions that one batch may hold.
MAX_BATCH = 10_000
#: Executions that are made on the event loop; more go to a thread.
_MAX_INLINE = 32
#: Executions accepted at once that one executor process takes as fast as several would.
_FEW = 4
#: Problems of a batch after which the rest of it is not checked.
_MAX_PROBLEMS = 100
#: Graph versions kept in memory, and answers to which version was wanted.
_KEPT_GRAPHS, _KEPT_CHOICES = 256, 10_000


class Submitter:
    """Accepts executions.  Create it on the loop that uses it; ``close`` it there.

    Args:
        settings: Of the server.
        database: Where they are stored.
        offers: Executors that wait for one; without, everything is claimed from the queue.
        credentials: Looks whose credentials are meant; without, they are looked at when they are used.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        offers: Offers | None = None,
        credentials: CredentialsCheck | None = None,
    ) -> None:
        self._db, self._credentials = database, credentials
        # A limit for users is kept by claiming alone.
        self._offers = offers if settings.max_concurrent_per_user is None else None
        self.is_draining = False
        self._controls = Controls(database)
        self._executions = Executions(database)
        self._nudger = Nudger(settings.run_dir)
        self._graphs: OrderedDict[tuple[str, int], Graph] = OrderedDict()
        #: Which version was wanted when somebody last asked; checked again in the transaction that accepts.
        self._choices: OrderedDict[Wanted, int] = OrderedDict()
        self._metered = Metered("accept", acceptor(database), count_submissions)
        self._committer: GroupCommitter[Submission, Accepted | None] = GroupCommitter(
            database,
            self._metered.write,
            owner=lambda submission: submission.executions[0].id,
            patience=ACCEPT_PATIENCE,
            on_committed=self._tell,
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
        priority: int = 0,
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
            priority: Of the user's executions that wait, those with a higher one start first; from -100 to 100.

        Returns:
            The execution's id and status.

        Raises:
            GraphNotFound: Unknown, or another user's.
            InvalidError: The inputs do not fit, or key or priority are none; names every problem.
            ConflictError: The key was used with other inputs.
            Unavailable: The database is away.
        """
        check_request(idempotency_key, priority)

        def make(graph: Graph) -> list[NewExecution]:
            text = checked_inputs(graph, inputs, "")
            limit = graph.policy.max_concurrent_executions
            return [
                NewExecution(
                    new_id(),
                    graph.id,
                    graph.version,
                    user_id,
                    text,
                    idempotency_key,
                    parent_execution_id,
                    depth,
                    *lane_of(graph.id, limit, depth),
                    priority,
                )
            ]

        return (await self._submit(Wanted(user_id, canonical_id(graph_id), version), make, [inputs], ""))[0]

    async def submit_batch(
        self,
        user_id: str,
        graph_id: str,
        inputs: list[dict[str, Any]],
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
        priority: int = 0,
    ) -> list[str]:
        """Accept many executions of one graph, all or none; ids in the order of the inputs.

        Raises:
            GraphNotFound, InvalidError, ConflictError, Unavailable: As ``submit``; paths name the place in the batch.
        """
        check_request(idempotency_key, priority)
        if not 0 < len(inputs) <= MAX_BATCH:
            raise InvalidError(
                "The batch was refused.",
                [Problem("inputs", f"holds {len(inputs)} executions", f"send between 1 and {MAX_BATCH:,}")],
            )

        def make(graph: Graph) -> list[NewExecution]:
            lane, lane_limit = lane_of(graph.id, graph.policy.max_concurrent_executions, 0)
            problems: list[Problem] = []
            new: list[NewExecution] = []
            for i, one in enumerate(inputs):
                try:
                    text = checked_inputs(graph, one, _IN_BATCH.format(i))
                    new.append(
                        NewExecution(
                            new_id(),
                            graph.id,
                            graph.version,
                            user_id,
                            text,
                            None if idempotency_key is None else key_in_batch(idempotency_key, i),
                            lane=lane,
                            lane_limit=lane_limit,
                            priority=priority,
                        )
                    )
                except InvalidError as error:
                    problems += error.problems
                if len(problems) >= _MAX_PROBLEMS:
                    break
            if problems:
                raise InvalidError("The batch was refused; nothing of it was accepted.", problems[:_MAX_PROBLEMS])
            return new

        wanted = Wanted(user_id, canonical_id(graph_id), version)
        accepted = await self._submit(wanted, make, inputs, _IN_BATCH)
        return [execution_id for execution_id, _ in accepted]

    async def stop(self, user_id: str, execution_id: str) -> GraphExecution:
        """Ask an execution, and those it started, to stop.  Harmless when repeated or too late.

        Returns:
            The execution after the request: TERMINATED when it had not started, else still RUNNING for a moment.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
        """
        return await self._control(self._controls.stop, user_id, execution_id)

    async def pause(self, user_id: str, execution_id: str) -> GraphExecution:
        """Ask an execution, and those it started, to pause.  Harmless when repeated.

        Returns:
            The execution after the request: PAUSED when it was waiting, else RUNNING until its running nodes ended.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
            ConflictError: It has ended, or is being stopped.
        """
        return await self._control(self._controls.pause, user_id, execution_id)

    async def resume(self, user_id: str, execution_id: str) -> GraphExecution:
        """Let an execution, and those it started, go on, in their old places.  Harmless when nothing is paused.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
            ConflictError: It has ended.
        """
        resumed = await self._control(self._controls.resume, user_id, execution_id)
        self._nudger.send(Topic.QUEUE)
        return resumed

    async def _control(self, request: Callable[[str, str], Reached], user_id: str, execution_id: str) -> GraphExecution:
        execution_id = canonical_id(execution_id)
        reached = await asyncio.to_thread(request, user_id, execution_id)
        crash_point("stop.committed")
        if reached.ids:
            self._nudger.send(Topic.CONTROL, reached.ids)
            self._nudger.send(Topic.CHANGES, reached.ids)
        return await asyncio.to_thread(self._executions.get, user_id, execution_id)

    def nudge(self) -> None:
        """Tell executors that somebody else has queued something."""
        self._nudger.send(Topic.QUEUE)

    def stop_accepting(self) -> None:
        """Refuse new executions from now on with ``Unavailable``; everything else goes on.  For any thread."""
        self.is_draining = True

    async def close(self) -> None:
        """Write what was accepted, then refuse more."""
        await self._committer.close()
        self._nudger.close()

    async def _submit(
        self, wanted: Wanted, make: Callable[[Graph], list[NewExecution]], inputs: list[dict[str, Any]], place: str
    ) -> Accepted:
        """Make executions for the version that is wanted, and store them while it still is.

        Which one that is, is remembered from the last time and looked up only where that turns out to be wrong: when
        the transaction that accepts says so, or before inputs are refused that another version might take.
        """
        if self.is_draining:
            raise Unavailable("this server is stopping and takes no new executions; ask again in a moment")
        version = self._choices.get(wanted)
        is_remembered = version is not None
        while True:
            if version is None:
                version = await asyncio.to_thread(find_version, self._db, wanted)
            graph = await self._graph(wanted.graph_id, version)
            try:
                new = make(graph) if len(inputs) <= _MAX_INLINE else await asyncio.to_thread(make, graph)
                await self._check_credentials(wanted.user_id, graph, inputs, place)
            except InvalidError:
                if not is_remembered:
                    raise
            else:
                take = self._take_offer if len(new) == 1 and handed.may_be_handed(new[0]) else None
                accepted = await self._committer.put(Submission(wanted, version, new, take))
                if accepted is not None:
                    crash_point("answer.ready")
                    keep(self._choices, wanted, version, _KEPT_CHOICES)
                    return accepted
            version, is_remembered = None, False

    async def _check_credentials(self, user_id: str, graph: Graph, inputs: list[dict[str, Any]], place: str) -> None:
        if self._credentials is not None and self._credentials.inputs_of(graph):
            each = [(place.format(i), one) for i, one in enumerate(inputs)]
            problems = await asyncio.to_thread(self._credentials.problems, user_id, graph, each)
            if problems:
                raise InvalidError("The inputs name credentials that cannot be used.", problems[:_MAX_PROBLEMS])

    def _tell(self, submissions: list[Submission]) -> None:
        crash_point("accept.committed")
        first = submissions[0]
        if self._offers is not None and first.handed_to is not None:
            self._offers.hand_over(first.handed_to.socket, handed.pack(first.executions[0]))
        elif sum(len(submission.executions) for submission in submissions) <= _FEW:
            self._nudger.send_to_one(Topic.QUEUE)
        else:
            self._nudger.send(Topic.QUEUE)
        self._metered.committed(submissions)

    def _take_offer(self) -> Offer | None:
        offer = None if self._offers is None else self._offers.take()
        return None if offer is None else Offer(Lease(*offer[:2]), offer[2])

    async def _graph(self, graph_id: str, version: int) -> Graph:
        """Read a version, or take it from memory: it never changes."""
        key = (graph_id, version)
        graph = self._graphs.get(key)
        if graph is None:
            graph = await asyncio.to_thread(load_version, self._db, *key)
        keep(self._graphs, key, graph, _KEPT_GRAPHS)
        return graph


def checked_inputs(graph: Graph, inputs: dict[str, Any], path: str) -> str:
    """Check the inputs of one execution and give them as they are stored; problems are told below a path."""
    problems = check_inputs(graph, inputs)
    if problems:
        problems = [Problem(_join(path, p.path), p.message, p.fix) for p in problems]
        raise InvalidError("The inputs do not fit the graph.", problems)
    try:
        return inputs_text(plain(inputs))
    except JsonValueError as error:
        problem = Problem(_join(path, error.place), error.reason, error.fix)
        raise InvalidError("The inputs cannot be stored.", [problem]) from None


def _join(path: str, rest: str) -> str:
    return f"{path}.{rest}" if path and rest else path or rest


def check_request(idempotency_key: str | None, priority: int) -> None:
    if idempotency_key is not None:
        check_key(idempotency_key)
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        fix = f"send a whole number from {MIN_PRIORITY} to {MAX_PRIORITY}"
        raise InvalidError("The priority was refused.", [Problem("priority", f"is {priority}", fix)])
