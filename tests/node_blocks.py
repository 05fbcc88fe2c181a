"""Blocks that fail for a while, stream or talk, for tests of how nodes are run.  Loaded as those of ``odd_blocks``."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockContext, BlockSchema


class OtherSideError(BlockError):
    """An error that policies can name."""


class _AnyOutput(BlockSchema):
    value: Any


def _runs(context: BlockContext, name: str) -> int:
    """Count this run in a file of the user, and tell how many there were."""
    context.write_file(name, b"x", append=True)
    return len(context.read_file(name))


class FlakyBlock(Block):
    """Fails a number of times, then yields how often it ran.  Counts over all attempts."""

    id = "0f0e0d0c-0000-4000-8000-000000000101"

    class Input(BlockSchema):
        failures: int
        name: str = "flaky"
        retry_after: float | None = None
        value: Any = None

    Output = _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        runs = _runs(context, input_data.name)
        print("run", runs)
        if runs <= input_data.failures:
            raise OtherSideError(f"failure {runs}", input_data.retry_after)
        yield "value", runs


class UnluckyBlock(Block):
    """Fails every third time, by chance."""

    id = "0f0e0d0c-0000-4000-8000-000000000109"

    class Input(BlockSchema):
        value: Any = None

    Output = _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        if random.random() < 1 / 3:
            raise OtherSideError("no luck", None)
        yield "value", input_data.value


class SleepyBlock(Block):
    """Sleeps on the loop, then yields its value."""

    id = "0f0e0d0c-0000-4000-8000-000000000102"

    class Input(BlockSchema):
        seconds: float
        value: Any = None

    Output = _AnyOutput

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        await asyncio.sleep(input_data.seconds)
        yield "value", input_data.value


class SleepyThreadBlock(SleepyBlock):
    """The same in a thread."""

    id = "0f0e0d0c-0000-4000-8000-000000000103"

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        time.sleep(input_data.seconds)
        yield "value", input_data.value


class StreamBlock(Block):
    """Yields the numbers below a limit; at one of them it waits for a file, or fails."""

    id = "0f0e0d0c-0000-4000-8000-000000000104"
    streaming = True

    class Input(BlockSchema):
        count: int
        gate_at: int | None = None
        fail_at: int | None = None

    Output = _AnyOutput

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        runs = _runs(context, "stream-runs")
        for i in range(input_data.count):
            if i == input_data.gate_at:
                await self._gate(context)
            if i == input_data.fail_at and runs == 1:
                raise OtherSideError("broken off")
            yield "value", i

    async def _gate(self, context: BlockContext) -> None:
        while True:
            try:
                context.read_file("go")
                return
            except BlockError:
                await asyncio.sleep(0.01)


class ThreadStreamBlock(Block):
    """Yields the numbers below a limit, from a thread."""

    id = "0f0e0d0c-0000-4000-8000-000000000105"
    streaming = True

    class Input(BlockSchema):
        count: int

    Output = _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        for i in range(input_data.count):
            yield "value", i


class TalkingBlock(Block):
    """Prints and logs in every way there is."""

    id = "0f0e0d0c-0000-4000-8000-000000000106"

    class Input(BlockSchema):
        text: str
        times: int = 1

    Output = _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        for _ in range(input_data.times):
            print(input_data.text)
        print("to stderr", file=sys.stderr)
        logging.getLogger("somebody").warning("logged %d", 1)
        context.log("by the context")
        yield "value", threading.current_thread().name


class TalkingInlineBlock(TalkingBlock):
    """The same where the execution's owner runs."""

    id = "0f0e0d0c-0000-4000-8000-000000000107"
    pure = True
    blocking = False


class TalkingAsyncBlock(TalkingBlock):
    """The same in a task."""

    id = "0f0e0d0c-0000-4000-8000-000000000108"

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:  # type: ignore[override]
        for pair in super().run(input_data, context):
            await asyncio.sleep(0)
            yield pair


ALL = ",".join(
    f"tests.node_blocks:{cls.__name__}"
    for cls in (
        FlakyBlock,
        UnluckyBlock,
        SleepyBlock,
        SleepyThreadBlock,
        StreamBlock,
        ThreadStreamBlock,
        TalkingBlock,
        TalkingInlineBlock,
        TalkingAsyncBlock,
    )
)
