"""Graphs: nodes joined by links.  What a valid one is stands in check.py, how one is read in graph_import.py."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autogpt_server.model.block import INPUT_BLOCK, OUTPUT_BLOCK
from autogpt_server.model.policy import GraphPolicy, NodePolicy


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Node(_Value):
    """One use of a block in a graph.  ``input_default`` gives values to pins that no link feeds."""

    id: str
    block_id: str
    block_name: str
    input_default: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    policy: NodePolicy = NodePolicy()


class Link(_Value):
    """Carries every value of an output pin to an input pin.  A static one keeps its last value."""

    id: str
    source_id: str
    source_name: str
    sink_id: str
    sink_name: str
    is_static: bool = False


class Graph(_Value):
    """One version of a graph."""

    id: str
    version: int = 1
    name: str
    description: str = ""
    is_active: bool = True
    is_template: bool = False
    policy: GraphPolicy = GraphPolicy()
    nodes: tuple[Node, ...] = ()
    links: tuple[Link, ...] = ()

    @cached_property
    def starting_nodes(self) -> tuple[Node, ...]:
        """Nodes without incoming links, in the order of the graph."""
        fed = {link.sink_id for link in self.links}
        return tuple(node for node in self.nodes if node.id not in fed)

    @cached_property
    def input_nodes(self) -> tuple[Node, ...]:
        """Starting nodes by which the graph takes its named inputs."""
        return tuple(node for node in self.starting_nodes if node.block_name == INPUT_BLOCK)

    @cached_property
    def needs_input(self) -> dict[str, bool]:
        """The names of its inputs in the order of the graph, and whether each needs a value."""
        needs: dict[str, bool] = {}
        for node in self.input_nodes:
            name = str(node.input_default.get("name"))
            needs[name] = needs.get(name, False) or "value" not in node.input_default
        return needs

    @cached_property
    def output_nodes(self) -> tuple[Node, ...]:
        """Nodes that collect the graph's named outputs."""
        return tuple(node for node in self.nodes if node.block_name == OUTPUT_BLOCK)
