"""Blocks declared heavy, for tests of the processes that they run in."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockContext, BlockSchema


class _Output(BlockSchema):
    value: Any


class SpinningBlock(Block):
    """Keeps a processor busy for a while, then yields its process and when it began and ended."""

    id = "0f0e0d0c-0000-4000-8000-000000000301"
    heavy = True

    class Input(BlockSchema):
        seconds: float = 0.3

    Output = _Output

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        context.write_file(f"spinning/{context.node_execution_id}", str(os.getpid()).encode())
        print("spinning")
        logging.getLogger("spin").warning("for %s s", input_data.seconds)
        began = time.time()
        while time.time() < began + input_data.seconds:
            pass
        yield "value", [os.getpid(), began, time.time()]


class HeavyEndBlock(Block):
    """Ends in the way that it is told."""

    id = "0f0e0d0c-0000-4000-8000-000000000302"
    heavy = True

    class Input(BlockSchema):
        how: str

    Output = _Output

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield "value", context.tries if hasattr(context, "tries") else 1
        match input_data.how:
            case "exit":
                os._exit(5)
            case "fail":
                raise HeavyError("too heavy", 0.01)
            case "leak":
                yield "value", len([bytearray(b"x" * 10_000_000) for _ in range(1_000)])
            case _:
                yield "nowhere", 1


class HeavyError(BlockError):
    """A failure that policies may name."""


class HeavyStreamBlock(Block):
    """Yields numbers one by one, with its process in front."""

    id = "0f0e0d0c-0000-4000-8000-000000000303"
    heavy = streaming = True

    class Input(BlockSchema):
        count: int

    Output = _Output

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        for i in range(input_data.count):
            yield "value", i


ALL = ",".join(f"tests.heavy_blocks:{name}" for name in ("SpinningBlock", "HeavyEndBlock", "HeavyStreamBlock"))
