"""Runs one graph execution: replays what is recorded, then ready nodes -> run -> record -> feed outputs along links.

Starting and resuming are the same path.  What must be durable before what:

- A node whose block is not pure starts only after a commit that holds its RUNNING row and every end before it,
  those of its producers among them.  Pure blocks may run ahead.
- At most one commit of an execution is under way, and rows enter it in the order of their sequences, so what
  is stored is always a prefix of what happened.
- The final status travels with the last rows.

A pause lets running nodes end and starts no other; then the execution leaves its executor.  Nodes that only wait for
another execution do not hold that up: that one was asked to pause, too, and is found again when this one resumes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, replace

from autogpt_server.data.commit import GroupCommitter, LeaseLost
from autogpt_server.data.executions import Executions
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import Claimed
from autogpt_server.data.records import Ending, Record
from autogpt_server.errors import ServerError, Unavailable
from autogpt_server.executor.compiled_graphs import CompiledGraphs
from autogpt_server.executor.context import ExecutionScope, NodeContext
from autogpt_server.executor.node_executor import NodeExecutor, NodeOutcome
from autogpt_server.logs import bound_contextvars
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import node_execution_id
from autogpt_server.model.jsonvalue import dumps, storable_text
from autogpt_server.model.wiring import NodeEnd, ReadyNode, Wiring
from autogpt_server.service.crash_points import crash_point

log = logging.getLogger(__name__)

#: Seconds that trivial blocks may run one after the other before other executions get the loop.
_SLICE_SECONDS = 0.005
#: Text of a status as it is stored: looking it up costs as much as making the rest of the row.
_RUNNING = ExecutionStatus.RUNNING.value
#: Ended nodes that may wait for a commit while trivial ones run ahead.
_MAX_PENDING = 1000


#: Characters of the reason why an execution broke off.
_MAX_REASON = 2000
#: Seconds between two tries to read an execution while the database is away.
_RETRY_SECONDS = 0.5


class _NotOurs(Exception):
    """The execution was taken over, or ended by somebody else: drop it and write nothing more."""


@dataclass(slots=True)
class _Running:
    """A node whose block runs in a task."""

    node: ReadyNode
    row: NodeRow
    context: NodeContext
    is_recorded: bool
    task: asyncio.Task[None] | None = None


class GraphExecutor:
    """The one owner of a claimed execution."""

    def __init__(
        self,
        claimed: Claimed,
        scope: ExecutionScope,
        graphs: CompiledGraphs,
        executions: Executions,
        committer: GroupCommitter[Record, bool],
        nodes: NodeExecutor,
        max_node_executions: int,
    ) -> None:
        self._claimed, self._scope = claimed, scope
        self._graphs, self._executions = graphs, executions
        self._committer, self._nodes = committer, nodes
        self._max_node_executions = max_node_executions
        self._pending: list[NodeRow] = []
        self._running: dict[int, _Running] = {}
        self._ended: deque[tuple[_Running, NodeOutcome]] = deque()
        #: Taken to be run, and not begun: those whose start a commit precedes.
        self._held: list[ReadyNode] = []
        self._changed = asyncio.Event()
        self._is_stopping = False
        self._is_pausing = False
        self._is_paused = False

    async def run(self) -> bool:
        """Run to the end, or until the execution is no longer ours.

        Returns:
            Whether it is still RUNNING and ours, and to be handed back: it was asked to pause.
        """
        log.debug("execution started, attempt %d", self._claimed.attempt)
        try:
            await self._run()
        except _NotOurs:
            log.warning("the execution is no longer this executor's; its run is dropped")
        except LeaseLost:
            log.warning("the lease is lost; the run is dropped")
        finally:
            await self._cancel_running()
        return self._is_paused

    def stop(self) -> None:
        """End the execution TERMINATED as soon as its running blocks have stopped."""
        self._is_stopping = True
        self._changed.set()

    def pause(self, is_wanted: bool) -> None:
        """Start no more nodes and leave the executor once those that run have ended; or take that back.

        To be repeated now and then: a node that runs may begin to wait for another execution.
        """
        if is_wanted or self._is_pausing:
            self._is_pausing = is_wanted
            self._changed.set()

    async def _run(self) -> None:
        try:
            wiring = await self._prepare_patiently()
            await self._loop(wiring)
            if self._is_paused:
                await self._leave(wiring)
                return
            ending = await self._finish(wiring)
            crash_point("end.decided")
            await self._commit(ending)
            crash_point("end.committed")
        except (_NotOurs, LeaseLost, Unavailable, asyncio.CancelledError):
            raise
        except Exception as error:
            # A graph that cannot run, rows that cannot be stored, or a defect of ours: this execution ends, its
            # neighbours go on.
            reason = str(error) if isinstance(error, ServerError) else f"internal error: {error}"
            log.warning("the execution broke off: %s", type(error).__name__, exc_info=error)
            self._pending.clear()
            ending = Ending(ExecutionStatus.FAILED, "{}", "{}", storable_text(reason[:_MAX_REASON]))
            await self._commit(ending)
        log.debug("execution ended %s", ending.status)

    async def _prepare_patiently(self) -> Wiring:
        """Prepare, however long the database is away: what was claimed is ours until we say how it ended."""
        while True:
            try:
                return await self._prepare()
            except Unavailable as error:
                log.warning("cannot read the execution, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _prepare(self) -> Wiring:
        claimed = self._claimed
        compiled = self._graphs.find(claimed.graph_id, claimed.graph_version)
        if compiled is None:
            compiled = await self._graphs.get(claimed.graph_id, claimed.graph_version)
        wiring = Wiring(compiled, claimed.inputs, self._max_node_executions)
        wiring.start()
        if claimed.attempt > 1:
            history = await asyncio.to_thread(self._executions.history, claimed.id)
            wiring.replay(
                NodeEnd(
                    ordinal=int(past.id.rpartition(".")[2]),
                    node_id=past.node_id,
                    sequence=past.sequence or 0,
                    status=past.status,
                    inputs=past.input_data,
                    outputs=list(past.output_data),
                    error=past.error,
                )
                for past in history
            )
        return wiring

    async def _loop(self, wiring: Wiring) -> None:
        while not self._is_stopping:
            if not self._is_pausing:
                await self._start_ready(wiring)
            if self._is_pausing and not self._ended and self._is_quiet():
                # What has nothing left to start has ended, whatever it was asked for.
                self._is_paused = bool(self._running or self._held or wiring.has_ready)
                return
            if not self._running and not self._ended:
                return
            if self._pending:
                await self._commit(None)
            if not self._ended and not self._is_stopping:
                await self._changed.wait()
            self._changed.clear()
            self._take_ended(wiring)

    async def _start_ready(self, wiring: Wiring) -> None:
        """Start every node that may start; returns when all that is left waits for running ones."""
        slice_ends = time.monotonic() + _SLICE_SECONDS
        held = self._held
        while True:
            while (node := wiring.take_next()) is not None:
                block = node.block
                if self._nodes.runs_inline(block):
                    self._run_inline(wiring, node)
                elif block.pure:
                    self._launch(self._open(node, is_recorded=False))
                else:
                    held.append(node)
                if time.monotonic() > slice_ends:
                    await asyncio.sleep(0)
                    slice_ends = time.monotonic() + _SLICE_SECONDS
                    self._take_ended(wiring)
                if self._is_stopping or self._is_pausing:
                    return
                if len(self._pending) >= _MAX_PENDING:
                    await self._commit(None)
            if not held:
                return
            opened = [self._open(node, is_recorded=True) for node in held]
            held.clear()
            # Copies: the rows change at their ends, while these may still wait to be written.
            self._pending += [replace(running.row) for running in opened]
            crash_point("node.opened")
            await self._commit(None)
            crash_point("node.recorded")
            for running in opened:
                self._launch(running)
            self._take_ended(wiring)

    def _run_inline(self, wiring: Wiring, node: ReadyNode) -> None:
        row = self._row(node)
        outcome = self._nodes.run_inline(node.block, node.inputs, NodeContext(self._scope, row.id, node.node_id))
        self._end(wiring, node, row, outcome)

    def _open(self, node: ReadyNode, *, is_recorded: bool) -> _Running:
        row = self._row(node)
        running = _Running(node, row, NodeContext(self._scope, row.id, node.node_id), is_recorded)
        self._running[node.ordinal] = running
        return running

    def _launch(self, running: _Running) -> None:
        running.row.started_ms = now_ms()
        with bound_contextvars(node_execution_id=running.row.id):
            running.task = asyncio.create_task(self._run_node(running))

    async def _run_node(self, running: _Running) -> None:
        outcome = await self._nodes.run(running.node.block, running.node.inputs, running.context)
        crash_point("node.ran")
        self._ended.append((running, outcome))
        self._changed.set()

    def _take_ended(self, wiring: Wiring) -> None:
        while self._ended:
            running, outcome = self._ended.popleft()
            del self._running[running.node.ordinal]
            self._end(wiring, running.node, running.row, outcome)

    def _end(self, wiring: Wiring, node: ReadyNode, row: NodeRow, outcome: NodeOutcome) -> None:
        """Give an end its sequence, deliver its outputs, and leave its row to the next commit."""
        end = wiring.end(node.ordinal, outcome.status, outcome.outputs, outcome.error)
        if outcome.status is not ExecutionStatus.TERMINATED:
            wiring.deliver(end)
        row.status, row.sequence, row.error = end.status.value, end.sequence, end.error
        row.outputs, row.ended_ms = dumps(end.outputs), now_ms()
        self._pending.append(row)

    def _row(self, node: ReadyNode) -> NodeRow:
        now = now_ms()
        return NodeRow(
            node_execution_id(self._claimed.id, node.ordinal),
            node.node_id,
            _RUNNING,
            dumps(node.inputs),
            self._claimed.attempt,
            now,
            now,
        )

    async def _commit(self, ending: Ending | None) -> None:
        """Make everything pending durable, with the RUNNING rows of nodes that are still without one.

        Raises:
            _NotOurs: The execution belongs to somebody else now; nothing was written.
        """
        rows, self._pending = self._pending, []
        for running in self._running.values():
            if not running.is_recorded and ending is None:
                running.is_recorded = True
                rows.append(replace(running.row))
        if not await self._committer.put(Record(self._claimed.id, self._claimed.attempt, rows, ending)):
            raise _NotOurs

    def _is_quiet(self) -> bool:
        """Tell whether nothing runs but what waits for other executions."""
        return all(running.context.is_waiting for running in self._running.values())

    async def _leave(self, wiring: Wiring) -> None:
        """Make what has ended durable, and stop waiting for other executions."""
        await self._cancel_running()
        while self._ended:
            running, outcome = self._ended.popleft()
            del self._running[running.node.ordinal]
            if outcome.status is not ExecutionStatus.TERMINATED:
                self._end(wiring, running.node, running.row, outcome)
        if self._pending:
            await self._commit(None)

    async def _finish(self, wiring: Wiring) -> Ending:
        if self._is_stopping:
            await self._cancel_running()
            self._take_ended(wiring)
            status, error = ExecutionStatus.TERMINATED, "stopped on request"
        else:
            status, error = wiring.outcome()
        return Ending(status, dumps(wiring.outputs()), dumps(wiring.stats()), error)

    async def _cancel_running(self) -> None:
        """Stop the blocks that run, and wait until each has, or was given up by its own grace."""
        if not self._running:
            return
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for running in self._running.values():
            # Not over when it is handed back: its next run takes up what this one started.
            running.context.cancel(is_over=self._is_stopping)
            if running.task is not None:
                running.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
