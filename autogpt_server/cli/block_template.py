"""What ``autogpt blocks new`` writes: the smallest block that works, and its test."""

from __future__ import annotations

import keyword
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from autogpt_server.blocks.registry import load_registry
from autogpt_server.errors import ConflictError, InvalidError, Problem

_BLOCK = '''\
"""A block of our own; `autogpt blocks test {name}` runs its sample."""

from autogpt_server.model.block import Block, BlockCategory, BlockSchema


class {name}(Block):
    id = "{id}"
    description = "Writes a text in capital letters."
    categories = frozenset({{BlockCategory.TEXT}})
    pure = True  # nothing outside changes, so it may run again after a crash

    class Input(BlockSchema):
        text: str

    class Output(BlockSchema):
        result: str

    test_input = {{"text": "hello"}}
    test_output = [("result", "HELLO")]

    def run(self, input_data, context):
        yield "result", input_data.text.upper()
'''

_TEST = """\
import asyncio

from {module} import {name}


def test_the_sample_yields_what_it_says():
    block = {name}()
    assert asyncio.run(block.execute(block.test_input, context=None)) == block.test_output
"""


@dataclass(frozen=True)
class WrittenBlock:
    block_file: Path
    test_file: Path
    import_path: str


def write_block(name: str, folder: Path) -> WrittenBlock:
    """Write a new block and its test.

    Raises:
        InvalidError: The name is no name of a class.
        ConflictError: A block of the library answers to the name, or one of the files exists; nothing is overwritten.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or keyword.iskeyword(name):
        raise InvalidError("Bad name.", [Problem("NAME", f"{name!r} is no class name", "for example: WordCountBlock")])
    taken = load_registry().find(name)
    if taken is not None:
        raise ConflictError(f"The library's {taken.name} answers to the name {name}; choose another.")
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    written = WrittenBlock(folder / f"{module}.py", folder / f"test_{module}.py", f"{module}:{name}")
    for path in (written.block_file, written.test_file):
        if path.exists():
            raise ConflictError(f"{path} exists; choose another name or folder.")
    folder.mkdir(parents=True, exist_ok=True)
    written.block_file.write_text(_BLOCK.format(name=name, id=uuid.uuid4()), encoding="utf-8")
    written.test_file.write_text(_TEST.format(name=name, module=module), encoding="utf-8")
    return written
