"""Where a graph takes its inputs and leaves its outputs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from autogpt_server.blocks.templates import render
from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema


class AgentInputBlock(Block):
    id = "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b"
    aliases = (
        "InputBlock",
        # One block per kind of form field there, all with these pins.
        "AgentShortTextInputBlock",
        "7fcd3bcb-8e1b-4e69-903d-32d3d4a92158",
        "AgentLongTextInputBlock",
        "90a56ffb-7024-4b2b-ab50-e26c5e5ab8ba",
        "AgentNumberInputBlock",
        "96dae2bb-97a2-41c2-bd2f-13a3b5a8ea98",
        "AgentDateInputBlock",
        "7e198b09-4994-47db-8b4d-952d98241817",
        "AgentTimeInputBlock",
        "2a1c757e-86cf-4c7e-aacf-060dc382e434",
        "AgentDropdownInputBlock",
        "655d6fdf-a334-421c-b733-520549c07cd1",
        "AgentToggleInputBlock",
        "cbf36ab5-df4a-43b6-8a7f-f7ed8652116e",
        "AgentTableInputBlock",
        "5603b273-f41e-4020-af7d-fbc9c6a8d928",
    )
    description = "Takes one named input of the graph.  `value` is what it hands on when the input is not given."
    categories = frozenset({BlockCategory.INPUT, BlockCategory.BASIC})
    static_output = True
    pure = True
    blocking = False

    class Input(BlockSchema):
        name: str = Field(description="The name of the input.")
        value: Any = Field(default=None, description="The value; in a graph, its default.")
        title: str | None = Field(default=None, description="The name for people.")
        description: str | None = Field(default=None, description="What to enter.")
        placeholder_values: list[Any] = Field(default=[], description="Values to choose from.")
        limit_to_placeholder_values: bool = Field(default=False, description="Refuse every other value.")
        options: list[Any] = Field(default=[], description="Values of which one must be chosen.")
        column_headers: list[str] = Field(default=[], description="Columns, where the input is a table.")
        advanced: bool = Field(default=False, description="Shown to those who ask for more only.")
        secret: bool = Field(default=False, description="Not to be shown.")

    class Output(BlockSchema):
        result: Any = Field(description="The value of the input.")

    test_input = [
        {"name": "Greeting", "value": "Hello, World!"},
        {"name": "Number", "value": 42, "placeholder_values": [7, 42], "limit_to_placeholder_values": True},
    ]
    test_output = [("result", "Hello, World!"), ("result", 42)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        allowed = input_data.options or (
            input_data.placeholder_values if input_data.limit_to_placeholder_values else []
        )
        if allowed and input_data.value not in allowed:
            choices = ", ".join(str(value) for value in allowed[:20])
            raise BlockError(f"input {input_data.name!r} must be one of: {choices}")
        yield "result", input_data.value


class AgentOutputBlock(Block):
    id = "363ae599-353e-4804-937e-b2ee3cef3da4"
    aliases = ("OutputBlock",)
    description = "Leaves one named output of the graph, as it is or filled into a template."
    categories = frozenset({BlockCategory.OUTPUT, BlockCategory.BASIC})
    static_output = True
    pure = True

    class Input(BlockSchema):
        name: str = Field(description="The name of the output.")
        value: Any = Field(default=None, description="The value.")
        title: str | None = Field(default=None, description="The name for people.")
        description: str | None = Field(default=None, description="What it is.")
        format: str = Field(default="", description="A Jinja template; the value stands in it under `name`.")
        escape_html: bool = Field(default=False, description="Make the value safe inside HTML.")
        advanced: bool = Field(default=False, description="Shown to those who ask for more only.")
        secret: bool = Field(default=False, description="Not to be shown.")

    class Output(BlockSchema):
        output: Any = Field(description="The value of the output.")
        name: str = Field(description="The name of the output.")

    test_input = [
        {"name": "greeting", "value": "Hello", "format": "{{ greeting }}, World!"},
        {"name": "answer", "value": 42},
    ]
    test_output = [("output", "Hello, World!"), ("name", "greeting"), ("output", 42), ("name", "answer")]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        value = input_data.value
        if input_data.format:
            value = render(input_data.format, {input_data.name: value}, escape_html=input_data.escape_html)
        yield "output", value
        yield "name", input_data.name
