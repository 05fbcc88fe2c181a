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
#: Seconds that a thread gets to end by itself once its node was told to stop or ran out of time.
_THREAD_GRACE = 1.0


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
        #: Threads that did not end when they should have; their process is to be replaced.
        self.stuck_threads = 0

    def runs_inline(self, block: Block) -> bool:
        """Tell whether a block is run by ``run_inline``, without a task or a thread."""
        return block.pure and not block.blocking and not block.is_async

    def run_inline(self, block: Block, inputs: dict[str, Any], context: NodeContext) -> NodeOutcome:
        """Run a trivial block here and now."""
        outputs = _Outputs(block, self._limits)
        slot = self._running.mark(context.node_execution_id)
        try:
            self._consume(block, block.check_input(inputs), context, outputs)
        except (Exception, SystemExit) as error:
            return _failed(outputs, error)
        finally:
            self._running.clear(slot)
        return NodeOutcome(ExecutionStatus.COMPLETED, outputs.pairs)

    async def run(self, block: Block, inputs: dict[str, Any], context: NodeContext) -> NodeOutcome:
        """Run a block on the loop if it is async, else in a thread, within its time limit.

        When the context is cancelled the outcome is TERMINATED.
        """
        outputs = _Outputs(block, self._limits)
        timeout = block.timeout.total_seconds() if block.timeout is not None else self._default_timeout
        try:
            parsed = block.check_input(inputs)
            try:
                async with asyncio.timeout(timeout):
                    if block.is_async:
                        await Marked(
                            self._running,
                            context.node_execution_id,
                            self._consume_async(block, parsed, context, outputs),
                        )
                    else:
                        await self._in_thread(block, parsed, context, outputs)
            except TimeoutError as error:
                if not context.has_timed_out(timeout):
                    raise
                context.cancel()
                raise BlockError(f"{block.name} ran longer than its limit of {timeout:g} s and was stopped") from error
        except asyncio.CancelledError:
            if context.cancelled:
                return NodeOutcome(ExecutionStatus.TERMINATED, outputs.pairs, "stopped on request")
            return _failed(outputs, BlockError(f"{block.name} cancelled itself"))
        except (Exception, SystemExit) as error:
            return _failed(outputs, error)
        return NodeOutcome(ExecutionStatus.COMPLETED, outputs.pairs)

    async def _in_thread(self, block: Block, parsed: BlockSchema, context: NodeContext, outputs: _Outputs) -> None:
        def work() -> None:
            if context.cancelled:
                return
            slot = self._running.mark(context.node_execution_id)
            try:
                self._consume(block, parsed, context, outputs)
            except SystemExit as error:
                raise BlockError(f"{block.name} called sys.exit({error.code!r})") from None
            finally:
                self._running.clear(slot)

        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            context.cancel()
            outputs.close()
            await self._let_end(future)
            raise

    async def _let_end(self, future: asyncio.Future[None]) -> None:
        """Wait a moment for a thread that was told to stop; a thread cannot be made to."""
        await asyncio.wait([future], timeout=_THREAD_GRACE)
        if future.done():
            # Looked at, so that it is not reported as an exception nobody fetched.
            future.exception()
            return
        self.stuck_threads += 1
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


def _failed(outputs: _Outputs, error: BaseException) -> NodeOutcome:
    match error:
        case BlockError():
            message = str(error)
        case SystemExit():
            message = f"the block called sys.exit({error.code!r})"
        case _:
            message = f"{type(error).__name__}: {error}"
            log.info("a block raised %s", type(error).__name__, exc_info=error)
    return NodeOutcome(ExecutionStatus.FAILED, outputs.pairs, storable_text(message[:_MAX_ERROR]))
