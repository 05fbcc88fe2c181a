"""All built-in blocks, listed by hand, and those that the settings add."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from autogpt_server.blocks.agent import AgentExecutorBlock
from autogpt_server.blocks.data import (
    AddToDictionaryBlock,
    AddToListBlock,
    FindInDictionaryBlock,
    JsonFormatBlock,
    JsonParseBlock,
    ListIteratorBlock,
)
from autogpt_server.blocks.files import ReadFileBlock, ReadLinesBlock, WriteFileBlock
from autogpt_server.blocks.graph_io import AgentInputBlock, AgentOutputBlock
from autogpt_server.blocks.http import SendWebRequestBlock
from autogpt_server.blocks.logic import ConditionBlock
from autogpt_server.blocks.maths import CalculatorBlock, CounterBlock
from autogpt_server.blocks.patterns import MatchTextPatternBlock
from autogpt_server.blocks.rss import ReadRSSFeedBlock
from autogpt_server.blocks.sampling import DataSamplingBlock
from autogpt_server.blocks.spreadsheets import ReadCsvBlock
from autogpt_server.blocks.stored_files import ReadStoredFileBlock, StoreFileBlock
from autogpt_server.blocks.text import CombineTextsBlock, TextCombinerBlock, TextFormatterBlock, TextSplitBlock
from autogpt_server.blocks.timing import CurrentTimeBlock, WaitBlock
from autogpt_server.blocks.values import PrintToConsoleBlock, RaiseErrorBlock, ValueBlock
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.block import Block, BlockRegistry
from autogpt_server.model.ids import is_uuid

BLOCKS: tuple[type[Block], ...] = (
    ValueBlock,
    PrintToConsoleBlock,
    AgentInputBlock,
    AgentOutputBlock,
    AgentExecutorBlock,
    TextCombinerBlock,
    CombineTextsBlock,
    TextFormatterBlock,
    TextSplitBlock,
    MatchTextPatternBlock,
    FindInDictionaryBlock,
    AddToDictionaryBlock,
    AddToListBlock,
    ListIteratorBlock,
    JsonParseBlock,
    JsonFormatBlock,
    DataSamplingBlock,
    ReadCsvBlock,
    CalculatorBlock,
    CounterBlock,
    ConditionBlock,
    RaiseErrorBlock,
    CurrentTimeBlock,
    WaitBlock,
    ReadFileBlock,
    ReadLinesBlock,
    WriteFileBlock,
    StoreFileBlock,
    ReadStoredFileBlock,
    SendWebRequestBlock,
    ReadRSSFeedBlock,
)


def load_registry(extra: Iterable[str] = ()) -> BlockRegistry:
    """Return the built-in blocks and those of the given import paths, ``package.module:ClassName`` each.

    Raises:
        InvalidError: Names every path that leads to no usable block, and what to do about it.
    """
    problems: list[Problem] = []
    blocks = list(BLOCKS)
    registry = BlockRegistry(blocks)
    for path in extra:
        try:
            blocks.append(_import_block(path))
            registry = BlockRegistry(blocks)
        except _Unusable as error:
            problems.append(Problem(f"blocks[{path}]", error.message, error.fix))
        except ValueError as error:
            blocks.pop()
            problems.append(
                Problem(f"blocks[{path}]", str(error), "give the block a name, an id and aliases of its own")
            )
    if problems:
        raise InvalidError("The setting AUTOGPT_BLOCKS names blocks that cannot be used.", problems)
    return registry


class _Unusable(Exception):
    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


def _import_block(path: str) -> type[Block]:
    module_name, colon, class_name = path.partition(":")
    if not (module_name and colon and class_name):
        raise _Unusable("is no import path", "write it as package.module:ClassName")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # Whatever a stranger's module raises, its name belongs into the message.
        raise _Unusable(
            f"cannot be imported: {type(error).__name__}: {error}", "install its package where this server runs"
        ) from error
    block = getattr(module, class_name, None)
    if not (isinstance(block, type) and issubclass(block, Block)):
        raise _Unusable(
            f"{module_name} has no block {class_name}", "name a subclass of autogpt_server.model.block.Block"
        )
    if not is_uuid(getattr(block, "id", "")):
        raise _Unusable("has no UUID as its id", "give the class an id, once and for ever")
    return block
