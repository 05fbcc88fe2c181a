"""Runs one graph execution: replays what is recorded, then ready nodes -> run -> record -> feed outputs along links.

Starting and resuming are the same path.  What must be durable before what:

- A node whose block is not pure starts only after a commit that holds its RUNNING row and every end before it,
  those of its producers among them.  Pure blocks may run ahead.
- A node that failed is run again only after a commit that holds the number of that try.
- What a streaming block yields goes downstream only after a commit that holds it.
- At most one commit of an execution is under way, and rows enter it in the order of their sequences, so what
  is stored is always a prefix of what happened.
- The final status travels with the last rows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial

from autogpt_server.data.commit import GroupCommitter, LeaseLost
from autogpt_server.data.database import Database
from autogpt_server.data.history import Unfinished, read_history
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import Claimed
from autogpt_server.data.records import Ending, OutputRow, Record
from autogpt_server.errors import BlockError, ServerError, Unavailable
from autogpt_server.executor.block_logs import BlockLog, route_output_to
from autogpt_server.executor.compiled_graphs import CompiledGraphs
from autogpt_server.executor.context import ExecutionScope, NodeContext
from autogpt_server.executor.node_executor import NodeExecutor, NodeOutcome
from autogpt_server.executor.node_outputs import Stream
from autogpt_server.executor.node_task import NodeTask, StreamRequest
from autogpt_server.logs import bound_contextvars
from autogpt_server.model.clock import now_ms
from autogpt_server.model.compiled import CompiledGraph
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import node_execution_id
from autogpt_server.model.jsonvalue import dumps, storable_text
from autogpt_server.model.wiring import ReadyNode, Wiring
from autogpt_server.service.crash_points import crash_point

log = logging.getLogger(__name__)

#: Seconds that trivial blocks may run one after the other before other executions get the loop.
_SLICE_SECONDS = 0.005
#: Text of a status as it is stored: looking it up costs as much as making the rest of the row.
_RUNNING = ExecutionStatus.RUNNING.value
#: What ended an execution that was asked to stop, and the nodes that ran then.
_ON_REQUEST = "stopped on request"
#: Ended nodes that may wait for a commit while trivial ones run ahead.
_MAX_PENDING = 1000


#: Characters of the reason why an execution broke off.
_MAX_REASON = 2000
#: Seconds between two tries to read an execution while the database is away.
_RETRY_SECONDS = 0.5


class _NotOurs(Exception):
    """The execution was taken over, or ended by somebody else: drop it and write nothing more."""


@dataclass(frozen=True, slots=True)
class ExecutionLimits:
    """What bounds every execution, unless its graph says otherwise."""

    node_executions: int
    #: Seconds that it may run, pauses not counted; None for any time.
    seconds: float | None


class GraphExecutor:
    """The one owner of a claimed execution."""

    def __init__(
        self,
        claimed: Claimed,
        scope: ExecutionScope,
        graphs: CompiledGraphs,
        database: Database,
        committer: GroupCommitter[Record, bool],
        nodes: NodeExecutor,
        limits: ExecutionLimits,
    ) -> None:
        self._claimed, self._scope = claimed, scope
        self._graphs, self._db = graphs, database
        self._committer, self._nodes, self._limits = committer, nodes, limits
        self._pending: list[NodeRow] = []
        self._pending_outputs: list[OutputRow] = []
        self._running: dict[int, NodeTask] = {}
        self._ended: deque[tuple[NodeTask, NodeOutcome]] = deque()
        self._streamed: deque[StreamRequest] = deque()
        #: Failed, and to be run again after so many seconds, once that is committed.
        self._failed: list[tuple[NodeTask, float]] = []
        #: Taken to be run, and not begun: those whose start a commit precedes.
        self._held: list[ReadyNode] = []
        #: What an earlier attempt had begun, by ordinal.
        self._unfinished: dict[int, Unfinished] = {}
        #: The context of the trivial node that runs now, whose log takes what it prints.
        self._inline: NodeContext | None = None
        self._changed = asyncio.Event()
        #: How long it may run, and when that is over by the monotonic clock.
        self._limit_seconds: float | None = None
        self._deadline: float | None = None
        self._is_late = False
        self._is_stopping = False
        self._is_pausing = False
        self._is_paused = False

    @property
    def user_id(self) -> str:
        """For whom it executes."""
        return self._claimed.user_id

    @property
    def block_log(self) -> BlockLog:
        """Where what trivial blocks print goes."""
        if self._inline is None:
            raise RuntimeError("no block runs")
        return self._inline.block_log

    async def run(self) -> bool:
        """Run to the end, or until the execution is no longer ours.

        Returns:
            Whether it is still RUNNING and ours, and to be handed back: it was asked to pause.
        """
        log.debug("execution started, attempt %d", self._claimed.attempt)
        route_output_to(self)
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
        except (_NotOurs, LeaseLost, Unavailable, MemoryError, asyncio.CancelledError):
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
        self._begin_time(compiled)
        wiring = Wiring(compiled, claimed.inputs, self._limits.node_executions)
        wiring.start()
        if claimed.attempt > 1 or claimed.is_rerun:
            history = await asyncio.to_thread(read_history, self._db, claimed.id)
            wiring.replay(history.ends, history.streamed)
            self._unfinished = history.unfinished
        return wiring

    def _begin_time(self, compiled: CompiledGraph) -> None:
        self._limit_seconds = compiled.policy.timeout_seconds or self._limits.seconds
        if self._limit_seconds is not None:
            self._deadline = time.monotonic() + self._limit_seconds - self._claimed.elapsed_seconds

    async def _loop(self, wiring: Wiring) -> None:
        while not self._is_over():
            if not self._is_pausing:
                await self._start_ready(wiring)
            if self._is_pausing and not self._ended and not self._streamed and self._is_quiet():
                # What has nothing left to start has ended, whatever it was asked for.
                self._is_paused = bool(self._running or self._held or wiring.has_ready)
                return
            if not self._running and not self._ended:
                return
            if self._pending:
                await self._commit(None)
            self._launch_failed()
            if not self._ended and not self._streamed and not self._is_over():
                await self._wait_for_change()
            self._changed.clear()
            await self._take(wiring)

    def _is_over(self) -> bool:
        """Tell whether it was asked to stop, or has used its time up."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._is_late = True
        return self._is_stopping or self._is_late

    async def _wait_for_change(self) -> None:
        if self._deadline is None:
            await self._changed.wait()
            return
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _start_ready(self, wiring: Wiring) -> None:
        """Start every node that may start; returns when all that is left waits for running ones."""
        slice_ends = time.monotonic() + _SLICE_SECONDS
        held, nodes = self._held, wiring.graph.nodes
        while True:
            while (node := wiring.take_next()) is not None:
                if nodes[node.node].is_inline:
                    self._run_inline(wiring, node)
                elif node.block.pure and not (node.block.streaming or node.block.heavy):
                    self._launch(self._open(wiring, node, is_recorded=False))
                else:
                    held.append(node)
                if time.monotonic() > slice_ends:
                    await asyncio.sleep(0)
                    slice_ends = time.monotonic() + _SLICE_SECONDS
                    await self._take(wiring)
                if self._is_pausing or self._is_over():
                    return
                if len(self._pending) >= _MAX_PENDING:
                    await self._commit(None)
            if not held:
                return
            opened = [self._open(wiring, node, is_recorded=True) for node in held]
            held.clear()
            # Copies: the rows change at their ends, while these may still wait to be written.
            self._pending += [replace(task.row) for task in opened]
            crash_point("node.opened")
            await self._commit(None)
            crash_point("node.recorded")
            for task in opened:
                self._launch(task)
            await self._take(wiring)

    def _run_inline(self, wiring: Wiring, node: ReadyNode) -> None:
        row = self._row(node)
        context = self._inline = NodeContext(self._scope, row.id, node.node_id)
        outcome = self._nodes.run_inline(node.block, node.inputs, context)
        self._end(wiring, node, row, context, outcome)

    def _open(self, wiring: Wiring, node: ReadyNode, *, is_recorded: bool) -> NodeTask:
        row, compiled = self._row(node), wiring.graph.nodes[node.node]
        context = NodeContext(self._scope, row.id, node.node_id, compiled.retry)
        begun = self._unfinished.pop(node.ordinal, None)
        if begun is not None:
            context.go_on_after(begun.tries, begun.logs)
            row.tries, row.logs = begun.tries, begun.logs
        stream = None
        if node.block.streaming:
            stream = Stream(partial(self._stream, node.ordinal), wiring.streamed(node.ordinal))
        task = NodeTask(node, compiled, row, context, stream, is_recorded)
        self._running[node.ordinal] = task
        return task

    def _launch(self, task: NodeTask, delay: float = 0.0) -> None:
        with bound_contextvars(node_execution_id=task.row.id):
            task.task = asyncio.create_task(self._run_node(task, delay))

    async def _run_node(self, task: NodeTask, delay: float) -> None:
        route_output_to(task.context)
        try:
            if delay > 0:
                await asyncio.sleep(delay)
        except asyncio.CancelledError:
            outcome = NodeOutcome(ExecutionStatus.TERMINATED)
        else:
            task.is_backing_off = False
            task.row.started_ms = now_ms()
            outcome = await self._nodes.run(
                task.node.block, task.node.inputs, task.context, task.compiled.timeout_seconds, task.stream
            )
        if outcome.status is ExecutionStatus.TERMINATED:
            outcome.error = self._why_stopped()
        crash_point("node.ran")
        self._ended.append((task, outcome))
        self._changed.set()

    async def _stream(self, ordinal: int, pin: str, value: object) -> None:
        """Hand on what a streaming block has yielded; returns once that is durable and was delivered."""
        if ordinal not in self._running:
            raise BlockError("the node has ended")
        request = StreamRequest(ordinal, pin, value, asyncio.get_running_loop().create_future())
        self._streamed.append(request)
        self._changed.set()
        await request.delivered

    async def _take(self, wiring: Wiring) -> None:
        """Take what nodes that run have streamed, then what has ended: a node streams before it ends."""
        await self._take_streamed(wiring)
        self._take_ended(wiring)

    async def _take_streamed(self, wiring: Wiring) -> None:
        """Record what was streamed, then deliver it.  No end comes in between: nobody else is the owner."""
        while self._streamed:
            requests = [self._streamed.popleft() for _ in range(len(self._streamed))]
            outputs = [wiring.stream(one.ordinal, one.pin, one.value) for one in requests]
            self._pending_outputs += [
                OutputRow(
                    output.number,
                    output.after_sequence,
                    node_execution_id(self._claimed.id, output.ordinal),
                    output.pin,
                    dumps(output.value),
                )
                for output in outputs
            ]
            crash_point("stream.taken")
            await self._commit(None)
            crash_point("stream.recorded")
            for output, request in zip(outputs, requests, strict=True):
                wiring.deliver_streamed(output)
                task = self._running[output.ordinal]
                if task.stream is not None:
                    task.stream.skip += 1
                if not request.delivered.done():
                    request.delivered.set_result(None)

    def _take_ended(self, wiring: Wiring) -> None:
        while self._ended:
            task, outcome = self._ended.popleft()
            delay = None if self._is_stopping or self._is_late else task.delay_of_next_try(outcome)
            if delay is not None:
                task.begin_next_try()
                task.is_recorded = True
                self._pending.append(replace(task.row))
                self._failed.append((task, delay))
                continue
            del self._running[task.node.ordinal]
            self._end(wiring, task.node, task.row, task.context, outcome)

    def _launch_failed(self) -> None:
        for task, delay in self._failed:
            self._launch(task, delay)
        self._failed.clear()

    def _end(self, wiring: Wiring, node: ReadyNode, row: NodeRow, context: NodeContext, outcome: NodeOutcome) -> None:
        """Give an end its sequence, deliver its outputs, and leave its row to the next commit."""
        end = wiring.end(node.ordinal, outcome.status, outcome.outputs, outcome.error)
        if outcome.status is not ExecutionStatus.TERMINATED:
            wiring.deliver(end)
        row.status, row.sequence, row.error = end.status.value, end.sequence, end.error
        row.outputs, row.logs, row.ended_ms = dumps(end.outputs), context.logs(), now_ms()
        row.block = node.block.name
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
        outputs, self._pending_outputs = self._pending_outputs, []
        for task in self._running.values():
            if not task.is_recorded and ending is None:
                task.is_recorded = True
                rows.append(replace(task.row))
        if not await self._committer.put(Record(self._claimed.id, self._claimed.attempt, rows, ending, outputs)):
            raise _NotOurs

    def _is_quiet(self) -> bool:
        """Tell whether nothing runs but what loses nothing when it is stopped."""
        return all(task.is_quiet for task in self._running.values())

    async def _leave(self, wiring: Wiring) -> None:
        """Make what has ended durable, and stop waiting for other executions."""
        await self._cancel_running()
        await self._take_streamed(wiring)
        while self._ended:
            task, outcome = self._ended.popleft()
            del self._running[task.node.ordinal]
            if outcome.status is not ExecutionStatus.TERMINATED:
                self._end(wiring, task.node, task.row, task.context, outcome)
        if self._pending:
            await self._commit(None)

    def _why_stopped(self) -> str:
        """Say to a node what ended it before its block had."""
        if self._is_late and not self._is_stopping:
            return f"the execution's time limit of {self._limit_seconds:g} s ended it"
        return _ON_REQUEST

    async def _finish(self, wiring: Wiring) -> Ending:
        if self._is_stopping or self._is_late:
            await self._cancel_running()
            await self._take(wiring)
        if self._is_stopping:
            status, error = ExecutionStatus.TERMINATED, _ON_REQUEST
        elif self._is_late:
            status, error = ExecutionStatus.FAILED, self._told_late(wiring.graph)
        else:
            status, error = wiring.outcome()
        return Ending(status, dumps(wiring.outputs()), dumps(wiring.stats()), error)

    def _told_late(self, graph: CompiledGraph) -> str:
        own = graph.policy.timeout_seconds
        told = f"the execution ran longer than its limit of {self._limit_seconds:g} s, and was stopped; "
        if own is None:
            return f"{told}timeout_seconds in the graph's policy, or AUTOGPT_EXECUTION_TIMEOUT_SECONDS, gives more time"
        return f"{told}a larger timeout_seconds in the graph's policy gives it more time"

    async def _cancel_running(self) -> None:
        """Stop the blocks that run, and wait until each has, or was given up by its own grace."""
        if not self._running:
            return
        for task in self._running.values():
            # Not over when it is handed back: its next run takes up what this one started.
            task.context.cancel(is_over=self._is_stopping or self._is_late)
            if task.task is not None:
                task.task.cancel()
        for request in self._streamed:
            # A thread that waits for this cannot be woken otherwise.
            if not request.delivered.done():
                request.delivered.set_exception(BlockError("the node was stopped"))
        tasks = [task.task for task in self._running.values() if task.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
