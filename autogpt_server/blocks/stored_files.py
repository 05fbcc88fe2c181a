"""Stored files as values of pins: made by one node, read by another, fetched by people."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pydantic import Field

from autogpt_server.blocks.files import decode
from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema
from autogpt_server.model.file import FileValue
from autogpt_server.model.jsonvalue import dumps

_BASE64 = "base64"


class StoreFileBlock(Block):
    id = "7f4b9c52-1d5e-4e0b-9d0f-6a4c4f0a3b61"
    description = "Stores a file that others can download.  Where an execution is resumed, it may be stored twice."
    categories = frozenset({BlockCategory.FILES, BlockCategory.OUTPUT})

    class Input(BlockSchema):
        name: str = Field(description="What to call it, without folders.")
        content: Any = Field(description="What is in it; anything but text is written as JSON.")
        encoding: str = Field(default="utf-8", description="How text is stored; base64 where the content is that.")
        mime_type: str = Field(default="", description="What kind of file it is; found out where it is left out.")

    class Output(BlockSchema):
        file: FileValue = Field(description="The file.")

    test_input = [{"name": "hello.txt", "content": "Hello"}]
    test_output = [("file", dict)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        content = input_data.content
        text = content if isinstance(content, str) else dumps(content)
        try:
            if input_data.encoding == _BASE64:
                data = base64.b64decode(text, validate=True)
            else:
                data = text.encode(input_data.encoding)
        except (LookupError, UnicodeError, binascii.Error) as error:
            raise BlockError(f"the content cannot be written as {input_data.encoding}: {error}") from None
        yield "file", context.store_file(input_data.name, data, input_data.mime_type or None)


class ReadStoredFileBlock(Block):
    id = "0c1f6f3c-70b2-4a0e-8f41-2f4d8f6f0f9e"
    description = "Reads a stored file."
    categories = frozenset({BlockCategory.FILES})

    class Input(BlockSchema):
        file: FileValue = Field(description="The file.")
        encoding: str = Field(default="utf-8", description="How the text is stored; base64 for a file that is no text.")

    class Output(BlockSchema):
        content: str = Field(description="What is in it.")
        name: str = Field(description="What it is called.")
        size: int = Field(description="Its size in bytes.")

    test_input = [{"file": {"$file": "00000000-0000-7000-8000-000000000003", "name": "greeting.txt"}}]
    test_output = [("content", "Grüß Gott"), ("name", "greeting.txt"), ("size", 11)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        data = context.read_stored(input_data.file)
        yield "content", decode(data, input_data.encoding, input_data.file.name)
        yield "name", input_data.file.name
        yield "size", len(data)
