"""Values as they are: hand one on, print one, fail with one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema
from autogpt_server.model.jsonvalue import dumps


class ValueBlock(Block):
    id = "1ff065e9-88e8-4358-9d82-8dc91f622ba9"
    aliases = ("ParrotBlock", "ConstantBlock", "StoreValueBlock")
    description = "Hands a value on.  Its links are static: whoever takes the value may take it again and again."
    categories = frozenset({BlockCategory.BASIC})
    static_output = True
    pure = True
    blocking = False

    class Input(BlockSchema):
        input: Any = Field(description="The value, or only the trigger where `data` is given.")
        data: Any = Field(default=None, description="A constant that goes out instead of `input`.")

    class Output(BlockSchema):
        output: Any = Field(description="The value, unchanged.")

    test_input = [{"input": "Hello, World!"}, {"input": "trigger", "data": 0}]
    test_output = [("output", "Hello, World!"), ("output", 0)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        yield "output", input_data.input if input_data.data is None else input_data.data


class PrintToConsoleBlock(Block):
    id = "f3b1c1b2-4c4f-4f0d-8d2f-4c4f0d8d2f4c"
    aliases = ("PrintingBlock",)
    description = "Writes a value to the server's log."
    categories = frozenset({BlockCategory.BASIC, BlockCategory.OUTPUT})
    blocking = False

    class Input(BlockSchema):
        text: Any = Field(description="What to print; anything but text is printed as JSON.")

    class Output(BlockSchema):
        output: Any = Field(description="The value that was printed.")
        status: str = Field(description='Always "printed".')

    test_input = {"text": "Hello, World!"}
    test_output = [("output", "Hello, World!"), ("status", "printed")]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        text = input_data.text
        context.log(text if isinstance(text, str) else dumps(text))
        yield "output", text
        yield "status", "printed"


class RaiseErrorBlock(Block):
    id = "a88c5bf8-ab58-4d0c-8b17-d8c1b6c1d3f0"
    description = "Fails with a message.  Link the `error` pin to go on from there."
    categories = frozenset({BlockCategory.LOGIC})
    pure = True
    blocking = False

    class Input(BlockSchema):
        message: str = Field(description="Becomes the error of the node.")

    test_input = {"message": "no such customer"}
    test_output = [("error", "no such customer")]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        raise BlockError(input_data.message)
        yield  # makes this a generator
