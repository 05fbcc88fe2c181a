"""Runs one node: check the input, run the block within its limits, and turn every ending into an outcome.

Exceptions of blocks stop here; nothing above branches on them.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor as ThreadExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from autogpt_server.errors import BlockError
from autogpt_server.executor.context import NodeContext
from autogpt_server.executor.running_nodes import Marked, RunningNodes
from autogpt_server.model.block import AsyncBlockOutput, Block, BlockOutput, BlockSchema
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.jsonvalue import JsonValueError, dumps, plain, storable_text

log = logging.getLogger(__name__)

#: Characters of an error message that are kept.
_MAX_ERROR = 10_000
#: Seconds that a block gets to end by itself once it was told to stop or ran out of time.
_GRACE = 1.0


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How much one node execution may yield."""

    pairs: int
    bytes: int


@dataclass(slots=True)
class NodeOutcome:
    """How a node execution ended.  Outputs are plain JSON values in the order in which they were yielded."""

    status: ExecutionStatus
    outputs: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    error: str | None = None


class NodeExecutor:
    """Runs nodes of one executor process.

    Args:
        threads: Where blocking blocks run.
        running: Marks what runs, for whoever looks after a death of this process.
        limits: Of what one node yields.
        default_timeout: Seconds that a block may run which names no limit of its own.
    """

    def __init__(
        self, threads: ThreadExecutor, running: RunningNodes, limits: OutputLimits, default_timeout: float
    ) -> None:
        self._threads, self._running, self._limits = threads, running, limits
        self._default_timeout = default_timeout
        #: Runs that did not end when they should have; their process is to be replaced.
        self.stuck_runs = 0

    def runs_inline(self, block: Block) -> bool:
        """Tell whether a block is run by ``run_inline``, without a task or a thread."""
        return block.pure and not block.blocking and not block.is_async

    def run_inline(self, block: Block, inputs: dict[str, Any], context: NodeContext) -> NodeOutcome:
        """Run a trivial block here and now."""
        outputs = _Outputs(block, self._limits)
        error = self._run_sync(block, inputs, context, outputs)
        return _outcome(outputs, error)

    async def run(self, block: Block, inputs: dict[str, Any], context: NodeContext) -> NodeOutcome:
        """Run a block on the loop if it is async, else in a thread, within its time limit.

        When this is cancelled the block is told to stop, and the outcome is TERMINATED.
        """
        outputs = _Outputs(block, self._limits)
        timeout = block.timeout.total_seconds() if block.timeout is not None else self._default_timeout
        body: asyncio.Future[BaseException | None]
        if block.is_async:
            body = asyncio.ensure_future(self._run_async(block, inputs, context, outputs))
        else:
            loop = asyncio.get_running_loop()
            body = loop.run_in_executor(self._threads, self._run_sync, block, inputs, context, outputs)
        try:
            await asyncio.wait([body], timeout=timeout)
        except asyncio.CancelledError:
            await self._make_end(body, context, outputs)
            return NodeOutcome(ExecutionStatus.TERMINATED, outputs.pairs, "stopped on request")
        if not body.done():
            context.cancel(is_over=True)
            await self._make_end(body, context, outputs)
            late = BlockError(f"{block.name} ran longer than its limit of {timeout:g} s and was stopped")
            return _outcome(outputs, late)
        return _outcome(outputs, body.result())

    def _run_sync(
        self, block: Block, inputs: dict[str, Any], context: NodeContext, outputs: _Outputs
    ) -> BaseException | None:
        """Run to the end and return what the block raised, whatever it is: it must reach neither thread nor loop."""
        slot = self._running.mark(context.node_execution_id, context.node_id, block.name)
        try:
            self._consume(block, block.check_input(inputs), context, outputs)
        except BaseException as error:
            return error
        finally:
            self._running.clear(slot)
        return None

    async def _run_async(
        self, block: Block, inputs: dict[str, Any], context: NodeContext, outputs: _Outputs
    ) -> BaseException | None:
        """As ``_run_sync``.  A cancellation is returned too: whoever cancelled has stopped listening."""
        mark = (context.node_execution_id, context.node_id, block.name)
        try:
            await Marked(self._running, mark, self._consume_async(block, block.check_input(inputs), context, outputs))
        except BaseException as error:
            return error
        return None

    async def _make_end(
        self, body: asyncio.Future[BaseException | None], context: NodeContext, outputs: _Outputs
    ) -> None:
        """Tell a block to stop and wait a moment; neither a thread nor a task that goes on anyway can be made to."""
        context.cancel()
        outputs.close()
        if isinstance(body, asyncio.Task):
            body.cancel()
        await asyncio.wait([body], timeout=_GRACE)
        if not body.done():
            self.stuck_runs += 1
            log.warning("a block does not stop; this executor process will be replaced")

    @staticmethod
    def _consume(block: Block, parsed: BlockSchema, context: NodeContext, outputs: _Outputs) -> None:
        for pin, value in cast(BlockOutput, block.run(parsed, context)):
            outputs.add(pin, value)
            if context.cancelled:
                raise BlockError(f"{block.name} was stopped")

    @staticmethod
    async def _consume_async(block: Block, parsed: BlockSchema, context: NodeContext, outputs: _Outputs) -> None:
        async for pin, value in cast(AsyncBlockOutput, block.run(parsed, context)):
            outputs.add(pin, value)


class _Outputs:
    """What a node has yielded so far, checked and made plain pair by pair."""

    def __init__(self, block: Block, limits: OutputLimits) -> None:
        self.pairs: list[tuple[str, Any]] = []
        self._block, self._limits = block, limits
        self._bytes = 0
        self._closed = False

    def add(self, pin: Any, value: Any) -> None:
        if self._closed:
            raise BlockError(f"{self._block.name} yielded after it was stopped")
        if len(self.pairs) >= self._limits.pairs:
            raise BlockError(
                f"{self._block.name} yielded more than {self._limits.pairs:,} values, the limit of one run"
            )
        try:
            stored = plain(self._block.check_output(pin, value))
        except JsonValueError as error:
            raise BlockError(f"{self._block.name} yielded on pin {pin!r} what cannot be stored: {error}") from None
        self._bytes += _size(stored)
        if self._bytes > self._limits.bytes:
            raise BlockError(f"{self._block.name} yielded more than {self._limits.bytes:,} bytes, the limit of one run")
        self.pairs.append((pin, stored))

    def close(self) -> None:
        """Take no more: the node ends now, whatever its thread still does."""
        self._closed = True
        self.pairs = list(self.pairs)


def _size(value: Any) -> int:
    """Bytes of a stored value, roughly; exact only where it matters."""
    match value:
        case dict() | list():
            return len(dumps(value))
        case str():
            return len(value)
        case _:
            return 8


def _outcome(outputs: _Outputs, error: BaseException | None) -> NodeOutcome:
    if error is None:
        return NodeOutcome(ExecutionStatus.COMPLETED, outputs.pairs)
    match error:
        case BlockError():
            message = _text_of(error)
        case SystemExit():
            message = f"the block called sys.exit({error.code!r})"
        case _:
            message = f"{type(error).__name__}: {_text_of(error)}"
            log.info("a block raised %s", type(error).__name__)
    return NodeOutcome(ExecutionStatus.FAILED, outputs.pairs, storable_text(message[:_MAX_ERROR]))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        # An exception of a block may be as broken as the block.
        return "(its message cannot be read)"
