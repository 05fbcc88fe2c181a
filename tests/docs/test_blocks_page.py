"""The examples of the page for authors of blocks are blocks that do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from autogpt_server.blocks.registry import BLOCKS
from autogpt_server.blocks.samples import SampleContext, run_samples
from autogpt_server.model.block import Block, BlockContext, BlockRegistry
from autogpt_server.model.retries import retry_delay
from autogpt_server.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "blocks.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def names_of(example: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "docs/blocks.md", "exec"), names)
    return names


def blocks_of(names: dict[str, Any]) -> list[type[Block]]:
    return [one for one in names.values() if isinstance(one, type) and issubclass(one, Block) and one is not Block]


@pytest.mark.parametrize("example", EXAMPLES)
async def test_every_example_is_a_block_whose_samples_hold(example: str, tmp_path: Path) -> None:
    (cls,) = blocks_of(names_of(example))
    # Of an id and a name of its own, too.
    block = BlockRegistry([*BLOCKS, cls]).get(cls.__name__)
    assert await run_samples(block, SampleContext(tmp_path)) == []


def test_the_page_has_an_example_of_each_kind() -> None:
    blocks = [cls for example in EXAMPLES for cls in blocks_of(names_of(example))]
    assert len(blocks) == len(EXAMPLES) >= 3
    assert any(cls.streaming for cls in blocks)
    assert any(cls.retry is not None and cls.timeout is not None for cls in blocks)


def test_the_example_is_tried_again_for_the_errors_that_it_names() -> None:
    names = names_of(next(example for example in EXAMPLES if "OrderBlock" in example))
    policy = names["OrderBlock"].retry
    assert retry_delay(policy, 1, names["ShopClosed"](), 0.0) == 60
    assert retry_delay(policy, 4, names["ShopClosed"](), 0.0) is None
    assert retry_delay(policy, 1, names["BlockError"]("there is nothing to order"), 0.0) is None


async def test_a_second_run_of_the_example_does_nothing_twice(tmp_path: Path) -> None:
    names = names_of(next(example for example in EXAMPLES if "OrderBlock" in example))
    context = cast(BlockContext, SampleContext(tmp_path))
    for _ in range(2):
        assert await names["OrderBlock"]().execute({"articles": ["ink", "paper"]}, context) == [("placed", 2)]
    assert len(list((tmp_path / "orders").iterdir())) == 2


def test_settings_and_context_are_named_as_they_are() -> None:
    assert set(re.findall(r"AUTOGPT_[A-Z_]+", PAGE)) >= {"AUTOGPT_NODE_TIMEOUT_SECONDS", "AUTOGPT_MAX_NODE_LOG_BYTES"}
    for setting in re.findall(r"AUTOGPT_([A-Z_]+_(?:SECONDS|BYTES))", PAGE):
        assert setting.lower() in Settings.model_fields
    for name in re.findall(r"`context\.(\w+)", PAGE):
        assert hasattr(BlockContext, name), name
