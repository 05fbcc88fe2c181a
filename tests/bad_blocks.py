"""Blocks that take more than they may, or end their process.  Every one is bounded, should nothing stop it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from autogpt_server.model.block import Block, BlockContext, BlockSchema

#: Seconds after which whatever was started here ends by itself.
_LONGEST = 30


class _NoInput(BlockSchema):
    pass


class _AnyOutput(BlockSchema):
    value: Any


class LeakingBlock(Block):
    """Keeps ten gigabytes, little by little."""

    id = "0f0e0d0c-0000-4000-8000-000000000201"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        kept = [bytearray(b"x" * 10_000_000) for _ in range(1_000)]
        yield "value", len(kept)


class AbsurdBlock(Block):
    """Asks for a terabyte at once."""

    id = "0f0e0d0c-0000-4000-8000-000000000202"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield "value", len(bytearray(10**12))


class ForkingBlock(Block):
    """Forks again and again, and so does what it forks."""

    id = "0f0e0d0c-0000-4000-8000-000000000203"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        end = time.monotonic() + _LONGEST
        for _ in range(9):  # 512 processes at most
            os.fork()
            time.sleep(0.05)
        while time.monotonic() < end and not context.cancelled:
            time.sleep(0.1)
        yield "value", None


class SpawningBlock(Block):
    """Starts a shell that starts processes by itself, and waits."""

    id = "0f0e0d0c-0000-4000-8000-000000000204"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        script = f"for i in $(seq 60); do sleep {_LONGEST} & done; wait"
        yield "value", subprocess.run(["sh", "-c", script], check=False).returncode


class EscapingBlock(Block):
    """Forks as often as it may; what it forked leaves the session and stays."""

    id = "0f0e0d0c-0000-4000-8000-000000000212"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        for _ in range(100):
            if (pid := os.fork()) == 0:
                os.setsid()
                time.sleep(_LONGEST)
                os._exit(0)
            context.write_file(f"escaped/{pid}", b"")
        yield "value", None


class GigabyteBlock(Block):
    """Prints a gigabyte."""

    id = "0f0e0d0c-0000-4000-8000-000000000205"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        text = "x" * 1_000_000
        for _ in range(1_000):
            print(text)
        yield "value", None


class RawGigabyteBlock(Block):
    """Writes a gigabyte to the descriptors, past Python."""

    id = "0f0e0d0c-0000-4000-8000-000000000206"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        data = b"x" * 1_000_000
        for _ in range(500):
            os.write(1, data)
            os.write(2, data)
        yield "value", None


class SegfaultBlock(Block):
    """Reads where no memory is."""

    id = "0f0e0d0c-0000-4000-8000-000000000207"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        ctypes.string_at(0)
        yield "value", None


class HangingBlock(Block):
    """Keeps the event loop busy."""

    id = "0f0e0d0c-0000-4000-8000-000000000208"
    Input, Output = _NoInput, _AnyOutput

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end:
            pass
        await asyncio.sleep(0)
        yield "value", None


class DaemonBlock(Block):
    """Leaves two processes running, one in a session of its own, and a temporary file; yields all process ids."""

    id = "0f0e0d0c-0000-4000-8000-000000000210"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield "value", os.getpid()
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(b"left")
        for new_session in (False, True):
            process = subprocess.Popen(
                [sys.executable, "-c", f"import time; time.sleep({_LONGEST})"], start_new_session=new_session
            )
            yield "value", process.pid


class StubbornBlock(Block):
    """Never looks whether it should stop."""

    id = "0f0e0d0c-0000-4000-8000-000000000211"
    Input, Output = _NoInput, _AnyOutput

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        context.write_file(f"stubborn/{context.node_execution_id}", b"")
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end:
            time.sleep(0.05)
        yield "value", None
