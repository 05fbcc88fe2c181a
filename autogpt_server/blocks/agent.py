"""Executes another graph as one node of this one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from autogpt_server.model.block import AsyncBlockOutput, Block, BlockCategory, BlockContext, BlockSchema


class AgentExecutorBlock(Block):
    id = "e189baac-8c20-45a1-94a7-55177ea42565"
    aliases = ("ExecuteGraphBlock",)
    description = "Executes another graph of the same user and waits for its outputs."
    categories = frozenset({BlockCategory.AGENT})
    blocking = False

    class Input(BlockSchema):
        graph_id: str = Field(description="The graph.")
        graph_version: int | None = Field(default=None, description="Its version; the active one by default.")
        inputs: dict[str, Any] = Field(default={}, description="Its inputs by name; link to `inputs_#_name`.")
        user_id: str | None = Field(default=None, description="Kept for exports: it always runs for this user.")
        agent_name: str | None = Field(default=None, description="Kept for exports: the graph's name.")
        input_schema: dict[str, Any] = Field(default={}, description="Kept for exports: its inputs.")
        output_schema: dict[str, Any] = Field(default={}, description="Kept for exports: its outputs.")
        nodes_input_masks: dict[str, Any] | None = Field(default=None, description="Kept for exports: not used.")

    class Output(BlockSchema):
        outputs: dict[str, Any] = Field(description="The last value of each output; link from `outputs_#_name`.")
        output_lists: dict[str, list[Any]] = Field(description="All values of each output, in order.")

    test_input = {"graph_id": "7d3f6d52-0000-7000-8000-000000000000", "inputs": {"a": 1}}
    test_output = [("outputs", {"echo": {"a": 1}}), ("output_lists", {"echo": [0, {"a": 1}]})]

    async def run(self, input_data: Input, context: BlockContext) -> AsyncBlockOutput:
        outputs = await context.execute_graph(input_data.graph_id, input_data.graph_version, input_data.inputs)
        yield "outputs", {name: values[-1] for name, values in outputs.items() if values}
        yield "output_lists", outputs
