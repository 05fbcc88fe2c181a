"""Which inputs of a graph lead to pins that take credentials."""

from __future__ import annotations

from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.credentials import CredentialsPin
from autogpt_server.model.graph import Graph, Node
from autogpt_server.model.pins import parse_pin


def credential_inputs(graph: Graph, registry: BlockRegistry) -> dict[str, CredentialsPin]:
    """Find the inputs of a graph that a link takes straight to a pin for credentials, with that pin.

    Of a graph without input blocks, its inputs are the pins of its starting nodes.
    """
    if not graph.input_nodes:
        return {name: pin for node in graph.starting_nodes for name, pin in _pins(node, registry).items()}
    names = {node.id: str(node.input_default.get("name")) for node in graph.input_nodes}
    nodes = {node.id: node for node in graph.nodes}
    found: dict[str, CredentialsPin] = {}
    for link in graph.links:
        name, sink = names.get(link.source_id), nodes.get(link.sink_id)
        if name is None or sink is None or parse_pin(link.source_name).steps:
            continue
        pin = _pins(sink, registry).get(link.sink_name)
        if pin is not None:
            found.setdefault(name, pin)
    return found


def _pins(node: Node, registry: BlockRegistry) -> dict[str, CredentialsPin]:
    block = registry.find(node.block_name)
    return {} if block is None else block.credentials_pins
