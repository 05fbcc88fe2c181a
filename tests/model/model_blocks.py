"""Blocks and a builder of graphs for tests of the model.  Nothing here is ever run: only pins and types count."""

from __future__ import annotations

from typing import Any, Literal

from autogpt_server.model.block import Block, BlockRegistry, BlockSchema
from autogpt_server.model.compiled import CompiledGraph
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.wiring import NodeEnd, ReadyNode, Wiring

COMPLETED, FAILED, TERMINATED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.TERMINATED


class AnyBlock(Block):
    """Takes and gives anything."""

    id = "11111111-0000-4000-8000-000000000001"
    aliases = ("old-id-that-is-no-uuid", "OldAnyBlock")

    class Input(BlockSchema):
        a: Any = None
        b: Any = None
        rows: list[Any] = []
        fields: dict[str, Any] = {}

    class Output(BlockSchema):
        x: Any
        y: Any


class ConstantBlock(AnyBlock):
    id = "11111111-0000-4000-8000-000000000002"
    aliases = ()
    static_output = True


class TypedBlock(Block):
    """Has pins of many types."""

    id = "11111111-0000-4000-8000-000000000003"

    class Input(BlockSchema):
        text: str
        number: int = 0
        kind: Literal["one", "two"] = "one"
        items: list[int] = []
        table: dict[str, str] = {}
        maybe: str | None = None
        either: str | list[str] = ""

    class Output(BlockSchema):
        text: str
        items: list[int]
        table: dict[str, int]
        maybe: dict[str, Any] | None


class AgentInputBlock(Block):
    id = "11111111-0000-4000-8000-000000000004"
    static_output = True

    class Input(BlockSchema):
        name: str
        value: Any = None
        title: str | None = None
        description: str = ""

    class Output(BlockSchema):
        result: Any


class AgentOutputBlock(Block):
    id = "11111111-0000-4000-8000-000000000005"

    class Input(BlockSchema):
        name: str
        value: Any
        title: str | None = None

    class Output(BlockSchema):
        output: Any


class AgentExecutorBlock(Block):
    id = "11111111-0000-4000-8000-000000000006"

    class Input(BlockSchema):
        graph_id: str
        graph_version: int | None = None
        inputs: dict[str, Any] = {}

    class Output(BlockSchema):
        outputs: dict[str, list[Any]]


REGISTRY = BlockRegistry([AnyBlock, ConstantBlock, TypedBlock, AgentInputBlock, AgentOutputBlock, AgentExecutorBlock])

Nodes = dict[str, str | tuple[str, dict[str, Any]]]


def build(nodes: Nodes, links: list[str] | None = None) -> Graph:
    """Build a graph whose node ids are the given names: block name, or block name and defaults.

    Links are ``"one.x -> two.a"``; a leading ``=`` makes one static.
    """
    parts = {name: part if isinstance(part, tuple) else (part, {}) for name, part in nodes.items()}
    return Graph(
        id="00000000-0000-4000-8000-000000000000",
        name="test",
        nodes=tuple(
            Node(id=name, block_id=REGISTRY.get(block).id, block_name=block, input_default=defaults)
            for name, (block, defaults) in parts.items()
        ),
        links=tuple(_link(i, text) for i, text in enumerate(links or [])),
    )


def _link(index: int, text: str) -> Link:
    source, sink = (end.split(".", 1) for end in text.removeprefix("=").split(" -> "))
    return Link(
        id=f"link{index:04}",
        source_id=source[0],
        source_name=source[1],
        sink_id=sink[0],
        sink_name=sink[1],
        is_static=text.startswith("="),
    )


class Run:
    """A wiring driven by hand: nodes are ended by name."""

    def __init__(self, graph: Graph, inputs: dict[str, Any] | None = None, limit: int = 1000) -> None:
        self.wiring = Wiring(CompiledGraph.compile(graph, REGISTRY), inputs or {}, limit)
        self.wiring.start()
        self.records: list[NodeEnd] = []

    def take(self) -> dict[str, ReadyNode]:
        """Take everything that may run now, by node."""
        taken: dict[str, ReadyNode] = {}
        while (node := self.wiring.take_next()) is not None:
            taken[node.node_id] = node
        return taken

    def end(self, node: ReadyNode, *outputs: tuple[str, Any], error: str | None = None) -> NodeEnd:
        """End and deliver."""
        status = COMPLETED if error is None else FAILED
        end = self.wiring.end(node.ordinal, status, outputs, error)
        self.wiring.deliver(end)
        self.records.append(end)
        return end

    def drain(self, outputs: dict[str, list[tuple[str, Any]]] | None = None) -> list[tuple[str, dict[str, Any]]]:
        """Run to the end, every node yielding the same each time; what ran, with its inputs, in order."""
        ran: list[tuple[str, dict[str, Any]]] = []
        while (node := self.wiring.take_next()) is not None:
            ran.append((node.node_id, node.inputs))
            self.end(node, *(outputs or {}).get(node.node_id, []))
        return ran
