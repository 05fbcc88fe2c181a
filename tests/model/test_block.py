"""Blocks and their registry."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, cast

import pytest
from pydantic import Field

from autogpt_server.errors import BlockError, BlockNotFound
from autogpt_server.model.block import Block, BlockContext, BlockRegistry, BlockSchema

CONTEXT = cast(BlockContext, None)


class DoubleBlock(Block):
    id = "double"
    aliases = ("TwiceBlock", "old")

    class Input(BlockSchema):
        number: int
        name: str = "n"

    class Output(BlockSchema):
        number: Annotated[int, Field(lt=1000)]
        name: str

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield "number", input_data.number * 2
        yield "name", threading.current_thread().name


class AsyncDoubleBlock(DoubleBlock):
    id = "async"
    aliases = ()

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        yield "number", input_data.number * 2


def test_blocks_are_found_by_name_id_and_alias() -> None:
    registry = BlockRegistry([DoubleBlock, AsyncDoubleBlock])
    block = registry.get("DoubleBlock")
    assert all(registry.get(key) is block for key in ("double", "TwiceBlock", "old"))
    assert [block.name for block in registry] == ["DoubleBlock", "AsyncDoubleBlock"]
    assert registry.find("none") is None
    with pytest.raises(BlockNotFound, match="Block none not found"):
        registry.get("none")


def test_two_blocks_of_one_name_or_id_are_refused() -> None:
    class OtherBlock(DoubleBlock):
        id = "old"
        aliases = ()

    with pytest.raises(ValueError, match="'old': DoubleBlock and OtherBlock"):
        BlockRegistry([DoubleBlock, OtherBlock])


def test_a_block_tells_its_pins() -> None:
    block = DoubleBlock()
    assert set(block.input_schema["properties"]) == {"number", "name"}
    assert set(block.output_schema["properties"]) == {"number", "name"}
    assert block.required_pins == {"number"}
    assert (block.is_async, AsyncDoubleBlock().is_async) == (False, True)


def test_input_is_converted_where_it_fits_and_refused_with_every_reason() -> None:
    block = DoubleBlock()
    parsed: Any = block.check_input({"number": "5", "name": 7})
    assert (parsed.number, parsed.name) == (5, "7")
    with pytest.raises(BlockError) as refused:
        block.check_input({"number": "many", "other": 1})
    assert "number: " in str(refused.value) and "other: " in str(refused.value)


def test_output_is_converted_where_it_fits_and_refused_with_the_pin() -> None:
    block = DoubleBlock()
    assert block.check_output("number", "5") == 5
    assert block.check_output("error", ValueError("no")) == "no"
    with pytest.raises(BlockError, match="unknown pin 'z'; its output pins are: name, number"):
        block.check_output("z", 1)
    with pytest.raises(BlockError, match="wrong value on pin 'number'"):
        block.check_output("number", [])
    with pytest.raises(BlockError, match="less than 1000"):
        block.check_output("number", 1000)


async def test_executing_runs_sync_blocks_in_a_thread_and_async_ones_here() -> None:
    (number, name) = await DoubleBlock().execute({"number": 4}, CONTEXT)
    assert number == ("number", 8)
    assert name[1] != threading.current_thread().name
    assert await AsyncDoubleBlock().execute({"number": 4}, CONTEXT) == [("number", 8)]
    with pytest.raises(BlockError):
        await DoubleBlock().execute({}, CONTEXT)
