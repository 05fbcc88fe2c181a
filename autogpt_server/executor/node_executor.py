"""Runs one node once: check the input, run the block within its limits, and turn every ending into an outcome.

Exceptions of blocks stop here; nothing above branches on them.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from autogpt_server.errors import BlockError, BlockTimeout
from autogpt_server.executor.child_count import TooManyChildren
from autogpt_server.executor.confinement import end_if_forked
from autogpt_server.executor.context import NodeContext
from autogpt_server.executor.fair_places import FairPlaces
from autogpt_server.executor.memory import MemoryWatch
from autogpt_server.executor.node_outputs import NodeOutputs, OutputLimits, Stream
from autogpt_server.executor.running_nodes import Marked, RunningNodes
from autogpt_server.executor.side_processes import SideProcesses
from autogpt_server.model.block import AsyncBlockOutput, Block, BlockOutput, BlockSchema
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.jsonvalue import storable_text

log = logging.getLogger(__name__)

#: Characters of an error message that are kept.
_MAX_ERROR = 10_000
#: Seconds that a block gets to end by itself once it was told to stop or ran out of time.
_GRACE = 1.0


@dataclass(slots=True)
class NodeOutcome:
    """How a run of a node ended.  Outputs are plain JSON values in the order in which they were yielded, without those
    that were streamed."""

    status: ExecutionStatus
    outputs: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    error: str | None = None
    #: What ended a FAILED one, for deciding whether it is worth another run.
    exception: BaseException | None = None


class NodeExecutor:
    """Runs nodes of one executor process.

    Args:
        threads: How many blocking blocks run at the same time.
        running: Marks what runs, for whoever looks after a death of this process.
        limits: Of what one node yields.
        default_timeout: Seconds that a block may run where neither it nor its node names a limit.
        memory: Decides what a refused allocation means.
        sides: Run blocks declared heavy; without, they run in threads.
    """

    def __init__(
        self,
        threads: int,
        running: RunningNodes,
        limits: OutputLimits,
        default_timeout: float,
        memory: MemoryWatch | None = None,
        sides: SideProcesses | None = None,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="block")
        self._running, self._limits = running, limits
        self._default_timeout, self._memory, self._sides = default_timeout, memory, sides
        #: Who may use a thread.  Of those who wait, users take turns.
        self._places = FairPlaces(threads)
        #: Runs that did not end when they should have; their process is to be replaced.
        self.stuck_runs = 0

    def close(self) -> None:
        """Start no more; does not wait for what runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def run_inline(self, block: Block, inputs: dict[str, Any], context: NodeContext) -> NodeOutcome:
        """Run a trivial block here and now."""
        outputs = NodeOutputs(block, self._limits)
        error = self._run_sync(block, inputs, context, outputs)
        return _outcome(outputs.pairs, error, context)

    async def run(
        self,
        block: Block,
        inputs: dict[str, Any],
        context: NodeContext,
        timeout: float | None = None,
        stream: Stream | None = None,
    ) -> NodeOutcome:
        """Run a block on the loop if it is async, else in a thread, within its time limit.

        When this is cancelled the block is told to stop, and the outcome is TERMINATED; why, the caller knows.

        Args:
            block: What to run.
            inputs: Of the node; frozen.
            context: What the block may reach for.
            timeout: Seconds that it may take, without those spent waiting for a free thread; None for the default.
            stream: Where the pairs of a streaming block go.
        """
        timeout = timeout or self._default_timeout
        if block.credentials_pins:
            try:
                await context.open_credentials(block, inputs)
            except asyncio.CancelledError:
                return NodeOutcome(ExecutionStatus.TERMINATED)
            except BlockError as error:
                return _outcome([], error, context)
            except Exception as error:
                # Without its words: nobody knows yet what is secret in them.
                log.warning("credentials cannot be opened: %s", type(error).__name__)
                return _outcome([], BlockError("the credentials cannot be opened now"), context)
        outputs = NodeOutputs(block, self._limits, context.redactor)
        run = _Run(block, inputs, context, outputs, stream)
        body: _Body | None = None
        try:
            body = await self._start(run)
            await body.started.wait()
            await asyncio.wait([body.future], timeout=timeout)
        except asyncio.CancelledError:
            if body is not None:
                await self._make_end(body, run)
            return NodeOutcome(ExecutionStatus.TERMINATED, run.kept())
        if not body.future.done():
            context.cancel(is_over=True)
            await self._make_end(body, run)
            late = BlockTimeout(
                f"{block.name} ran longer than its limit of {timeout:g} s and was stopped; "
                "a larger timeout_seconds in the node's policy gives it more time"
            )
            return _outcome(run.kept(), late, context)
        return _outcome(run.kept(), body.future.result(), context)

    async def _start(self, run: _Run) -> _Body:
        if run.block.is_async:
            return self._start_async(run)
        if run.block.heavy and self._sides is not None:
            return self._start_beside(run, self._sides)
        await self._places.take(run.context.user_id)
        return self._start_in_thread(run)

    @staticmethod
    def _start_beside(run: _Run, sides: SideProcesses) -> _Body:
        started = asyncio.Event()
        body = sides.run(run.block, run.inputs, run.context, run.outputs, run.stream, started)
        return _Body(asyncio.ensure_future(body), None, started)

    def _start_async(self, run: _Run) -> _Body:
        return _Body(asyncio.ensure_future(self._run_async(run)), None, _done())

    def _start_in_thread(self, run: _Run) -> _Body:
        run.loop = asyncio.get_running_loop()
        work = self._threads.submit(contextvars.copy_context().run, self._run_in_thread, run)
        future = asyncio.wrap_future(work)
        # Not before it has really ended: a block that does not stop keeps its thread.
        future.add_done_callback(lambda _: self._places.give_back(run.context.user_id))
        return _Body(future, work, _done())

    def _run_in_thread(self, run: _Run) -> BaseException | None:
        return self._run_sync(run.block, run.inputs, run.context, run.outputs, run)

    def _run_sync(
        self, block: Block, inputs: dict[str, Any], context: NodeContext, outputs: NodeOutputs, run: _Run | None = None
    ) -> BaseException | None:
        """Run to the end and return what the block raised, whatever it is: it must reach neither thread nor loop."""
        slot = self._running.mark(context.node_execution_id, context.node_id, block.name)
        try:
            parsed = block.check_input(inputs)
            if run is None or run.stream is None:
                self._consume(block, parsed, context, outputs)
            else:
                self._consume_streaming(run, run.stream, parsed)
        except BaseException as error:
            return self._own(error)
        finally:
            end_if_forked()
            self._running.clear(slot)
        return None

    async def _run_async(self, run: _Run) -> BaseException | None:
        """As ``_run_sync``.  A cancellation is returned too: whoever cancelled has stopped listening."""
        mark = (run.context.node_execution_id, run.context.node_id, run.block.name)
        try:
            await Marked(self._running, mark, self._consume_async(run, run.block.check_input(run.inputs)))
        except BaseException as error:
            return self._own(error)
        finally:
            end_if_forked()
        return None

    def _own(self, error: BaseException) -> BaseException:
        """Say it in our words where it is about this process."""
        if isinstance(error, MemoryError) and self._memory is not None:
            return self._memory.refused()
        if isinstance(error, TooManyChildren):
            return BlockError(str(error))
        return error

    async def _make_end(self, body: _Body, run: _Run) -> None:
        """Tell a block to stop and wait a moment; neither a thread nor a task that goes on anyway can be made to."""
        run.context.cancel()
        run.outputs.close()
        if body.work is None:
            body.future.cancel()
        elif body.work.cancel():
            # No thread had taken it yet.
            return
        await asyncio.wait([body.future], timeout=_GRACE)
        if not body.future.done():
            self.stuck_runs += 1
            log.warning("a block does not stop; this executor process will be replaced")

    @staticmethod
    def _consume(block: Block, parsed: BlockSchema, context: NodeContext, outputs: NodeOutputs) -> None:
        for pin, value in cast(BlockOutput, block.run(parsed, context)):
            outputs.add(pin, value)
            if context.cancelled:
                raise BlockError(f"{block.name} was stopped")

    @staticmethod
    def _consume_streaming(run: _Run, stream: Stream, parsed: BlockSchema) -> None:
        for pin, value in cast(BlockOutput, run.block.run(parsed, run.context)):
            stored = run.outputs.add(pin, value)
            if len(run.outputs.pairs) > stream.skip:
                asyncio.run_coroutine_threadsafe(_send(stream, pin, stored), run.running_loop).result()
            if run.context.cancelled:
                raise BlockError(f"{run.block.name} was stopped")

    @staticmethod
    async def _consume_async(run: _Run, parsed: BlockSchema) -> None:
        async for pin, value in cast(AsyncBlockOutput, run.block.run(parsed, run.context)):
            stored = run.outputs.add(pin, value)
            if run.stream is not None and len(run.outputs.pairs) > run.stream.skip:
                await run.stream.send(pin, stored)


async def _send(stream: Stream, pin: str, value: Any) -> None:
    await stream.send(pin, value)


@dataclass(slots=True)
class _Run:
    """One run of a block."""

    block: Block
    inputs: dict[str, Any]
    context: NodeContext
    outputs: NodeOutputs
    stream: Stream | None
    #: Where the pairs of a thread are sent.
    loop: asyncio.AbstractEventLoop | None = None

    @property
    def running_loop(self) -> asyncio.AbstractEventLoop:
        if self.loop is None:
            raise RuntimeError("a run in a thread has a loop")
        return self.loop

    def kept(self) -> list[tuple[str, Any]]:
        """What goes with the node's end: all pairs but streamed ones, which went before."""
        return self.outputs.pairs if self.stream is None else []


@dataclass(slots=True)
class _Body:
    """What runs a block: a task, or the work of a thread."""

    future: asyncio.Future[BaseException | None]
    work: Future[BaseException | None] | None
    #: Set once it has a thread.
    started: asyncio.Event


def _done() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def _outcome(pairs: list[tuple[str, Any]], error: BaseException | None, context: NodeContext) -> NodeOutcome:
    if error is None:
        return NodeOutcome(ExecutionStatus.COMPLETED, pairs)
    match error:
        case BlockError():
            message = _text_of(error)
        case SystemExit():
            message = f"the block called sys.exit({error.code!r})"
        case _:
            message = f"{type(error).__name__}: {_text_of(error)}"
            log.info("a block raised %s", type(error).__name__)
    message = context.redactor.text(message)
    return NodeOutcome(ExecutionStatus.FAILED, pairs, storable_text(message[:_MAX_ERROR]), error)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        # An exception of a block may be as broken as the block.
        return "(its message cannot be read)"
