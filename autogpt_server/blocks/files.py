"""Files of the user's folder.  The context keeps every path inside of it."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

from pydantic import Field

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema
from autogpt_server.model.jsonvalue import dumps

#: The encoding of files that hold no text.
_BASE64 = "base64"


class ReadFileBlock(Block):
    id = "5065b2a0-2f5e-4f13-be7f-22f919f36ebc"
    description = "Reads a file of the user's folder."
    categories = frozenset({BlockCategory.FILES})

    class Input(BlockSchema):
        path: str = Field(description="The path inside the user's folder.")
        encoding: str = Field(default="utf-8", description="How the text is stored; base64 for a file that is no text.")

    class Output(BlockSchema):
        content: str = Field(description="What is in it.")
        size: int = Field(description="Its size in bytes.")

    test_input = [{"path": "greeting.txt"}, {"path": "greeting.txt", "encoding": "base64"}]
    test_output = [("content", "Grüß Gott"), ("size", 11), ("content", "R3LDvMOfIEdvdHQ="), ("size", 11)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        data = context.read_file(input_data.path)
        yield "content", decode(data, input_data.encoding, input_data.path)
        yield "size", len(data)


class ReadLinesBlock(Block):
    id = "6a0f5b83-2d0c-4b7e-9e53-1d2c8f0b7a46"
    description = "Reads a file of the user's folder line by line; what follows on a line starts while others are read."
    categories = frozenset({BlockCategory.FILES})
    streaming = True

    class Input(BlockSchema):
        path: str = Field(description="The path inside the user's folder.")
        encoding: str = Field(default="utf-8", description="How the text is stored.")
        skip_empty: bool = Field(default=True, description="Leave out lines in which nothing but spaces stands.")

    class Output(BlockSchema):
        line: str = Field(description="Each line, without its end.")
        count: int = Field(description="How many there were, after the last one.")

    test_input = [{"path": "greeting.txt"}]
    test_output = [("line", "Grüß Gott"), ("count", 1)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        if input_data.encoding == _BASE64:
            raise BlockError("base64 has no lines; give the encoding of the text")
        text = decode(context.read_file(input_data.path), input_data.encoding, input_data.path)
        count = 0
        for line in io.StringIO(text, newline=None):
            if input_data.skip_empty and not line.strip():
                continue
            count += 1
            yield "line", line.removesuffix("\n")
        yield "count", count


class WriteFileBlock(Block):
    id = "0f7daa86-1e8f-4a27-8fd9-de7cadc5f375"
    description = "Writes a file of the user's folder.  Where an execution is resumed, an append may happen twice."
    categories = frozenset({BlockCategory.FILES, BlockCategory.OUTPUT})

    class Input(BlockSchema):
        path: str = Field(description="The path inside the user's folder; its folders are made.")
        content: Any = Field(description="What to write; anything but text is written as JSON.")
        append: bool = Field(default=False, description="Add to the end of the file instead of replacing it.")
        encoding: str = Field(default="utf-8", description="How to store the text; base64 for a file that is no text.")

    class Output(BlockSchema):
        path: str = Field(description="The path.")
        size: int = Field(description="The file's size in bytes.")

    test_input = [
        {"path": "reports/one.txt", "content": "Grüß Gott"},
        {"path": "reports/one.txt", "content": [1], "append": True},
        {"path": "two.bin", "content": "AAE=", "encoding": "base64"},
    ]
    test_output = [
        ("path", "reports/one.txt"),
        ("size", 11),
        ("path", "reports/one.txt"),
        ("size", 14),
        ("path", "two.bin"),
        ("size", 2),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        content = input_data.content
        data = _encode(content if isinstance(content, str) else dumps(content), input_data.encoding)
        size = context.write_file(input_data.path, data, append=input_data.append)
        yield "path", input_data.path
        yield "size", size


def decode(data: bytes, encoding: str, name: str) -> str:
    """Turn a file's bytes into text; a byte order mark is dropped.

    Raises:
        BlockError: There is no such encoding, or the file is not in it.
    """
    if encoding == _BASE64:
        return base64.b64encode(data).decode()
    try:
        return data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise _unknown(encoding) from None
    except ValueError:
        raise BlockError(f"{name!r} is no text in {encoding}; give its encoding, or base64") from None


def _encode(text: str, encoding: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if encoding == _BASE64 else text.encode(encoding)
    except LookupError:
        raise _unknown(encoding) from None
    except (binascii.Error, ValueError):
        raise BlockError(f"the content cannot be stored as {encoding}") from None


def _unknown(encoding: str) -> BlockError:
    return BlockError(f"there is no text encoding {encoding!r}; use one like utf-8, latin-1 or base64")
