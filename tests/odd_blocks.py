"""Blocks that misbehave, for tests of what happens then.  Loaded by ``AUTOGPT_BLOCKS=tests.odd_blocks:...``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

from autogpt_server.model.block import Block, BlockContext, BlockSchema


class _AnyInput(BlockSchema):
    value: Any = None


class _AnyOutput(BlockSchema):
    value: Any


class RecordingBlock(Block):
    """Appends a line to a file of the user for every run, then yields its value: counts real runs."""

    id = "0f0e0d0c-0000-4000-8000-000000000001"
    Input, Output = _AnyInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        context.write_file("runs.txt", f"{context.node_execution_id}\n".encode(), append=True)
        yield "value", input_data.value


class PidBlock(Block):
    """Waits until a file exists in the user's folder, then yields the id of its process."""

    id = "0f0e0d0c-0000-4000-8000-000000000002"

    class Input(BlockSchema):
        path: str = "go"
        value: Any = None

    Output = _AnyOutput

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        context.write_file(f"started/{context.node_execution_id}", str(os.getpid()).encode())
        while not context.cancelled:
            try:
                context.read_file(input_data.path)
                break
            except ValueError:
                raise
            except Exception:
                await asyncio.sleep(0.02)
        yield "value", os.getpid()


class ExitingBlock(Block):
    """Ends its process."""

    id = "0f0e0d0c-0000-4000-8000-000000000003"
    Input, Output = _AnyInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        os._exit(7)
        yield "value", None


class SysExitBlock(Block):
    """Calls sys.exit."""

    id = "0f0e0d0c-0000-4000-8000-000000000004"
    Input, Output = _AnyInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        sys.exit(3)
        yield "value", None


class EndlessBlock(Block):
    """Never ends and never looks whether it should."""

    id = "0f0e0d0c-0000-4000-8000-000000000005"
    timeout = timedelta(seconds=0.5)
    Input, Output = _AnyInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        while True:
            time.sleep(0.01)
        yield "value", None


class EndlessAsyncBlock(Block):
    """Waits for ever."""

    id = "0f0e0d0c-0000-4000-8000-000000000006"
    timeout = timedelta(seconds=0.2)
    Input, Output = _AnyInput, _AnyOutput

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        await asyncio.Event().wait()
        yield "value", None


class ManyBlock(Block):
    """Yields as many values as it is told to."""

    id = "0f0e0d0c-0000-4000-8000-000000000007"
    pure = True

    class Input(BlockSchema):
        count: int

    Output = _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        for i in range(input_data.count):
            yield "value", i


class UnknownPinBlock(Block):
    """Yields on a pin that it does not have."""

    id = "0f0e0d0c-0000-4000-8000-000000000008"
    Input, Output = _AnyInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield "nowhere", 1


class WrongTypeBlock(Block):
    """Yields text on a pin for numbers."""

    id = "0f0e0d0c-0000-4000-8000-000000000009"
    Input = _AnyInput

    class Output(BlockSchema):
        value: int

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield "value", "no number"


class UnstorableBlock(Block):
    """Yields what no database stores unchanged."""

    id = "0f0e0d0c-0000-4000-8000-00000000000a"

    class Input(BlockSchema):
        kind: str

    Output = _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        values = {"nul": "a\0b", "surrogate": "a\ud800b", "nan": float("nan"), "object": object(), "error": None}
        if input_data.kind == "error":
            raise RuntimeError("bad\0text\ud800")
        yield "value", {"inner": [values[input_data.kind]]}


class _Broken(BaseException):
    """No Exception, and without a message."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


_RAISED: dict[str, type[BaseException]] = {
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "base": _Broken,
    "stop": StopIteration,
}


class RaisingInlineBlock(Block):
    """Raises what no block should, on the loop itself."""

    id = "0f0e0d0c-0000-4000-8000-00000000000b"
    pure = True
    blocking = False

    class Input(BlockSchema):
        kind: str

    Output = _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        raise _RAISED[input_data.kind]


class RaisingInThreadBlock(RaisingInlineBlock):
    """The same in a thread."""

    id = "0f0e0d0c-0000-4000-8000-00000000000c"
    blocking = True


class RaisingAsyncBlock(Block):
    """The same in a task."""

    id = "0f0e0d0c-0000-4000-8000-00000000000d"

    class Input(BlockSchema):
        kind: str

    Output = _AnyOutput

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        await asyncio.sleep(0)
        raise _RAISED[input_data.kind]
        yield "value", None


class StubbornAsyncBlock(Block):
    """Goes on when it is cancelled, for a while."""

    id = "0f0e0d0c-0000-4000-8000-00000000000e"
    timeout = timedelta(seconds=0.2)
    Input, Output = _AnyInput, _AnyOutput

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        yield "value", None


ALL = ",".join(
    f"tests.odd_blocks:{cls.__name__}"
    for cls in (
        RecordingBlock,
        PidBlock,
        ExitingBlock,
        SysExitBlock,
        EndlessBlock,
        EndlessAsyncBlock,
        ManyBlock,
        UnknownPinBlock,
        WrongTypeBlock,
        UnstorableBlock,
        RaisingInlineBlock,
        RaisingInThreadBlock,
        RaisingAsyncBlock,
        StubbornAsyncBlock,
    )
)
