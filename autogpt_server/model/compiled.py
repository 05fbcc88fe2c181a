"""A graph version taken apart for executing: nodes and links as positions, looked up once instead of per value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from autogpt_server.model.block import ERROR_PIN, INPUT_BLOCK, OUTPUT_BLOCK, Block, BlockRegistry
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.pins import Steps, merge_inputs, parse_pin
from autogpt_server.model.policy import GraphPolicy, RetryPolicy


class Route(NamedTuple):
    """Where a link takes a value: which part of it, and to which linked pin of which node."""

    steps: Steps
    sink: int
    slot: int


@dataclass(frozen=True, slots=True)
class CompiledNode:
    """A node as the wiring needs it.  A slot is the position of a linked pin in ``pins``."""

    id: str
    block: Block
    defaults: dict[str, Any]
    #: The defaults with dynamic pins folded in: the whole input where nothing is linked or given.
    resolved_defaults: dict[str, Any]
    #: Outgoing links by output pin, in the order of their ids.
    routes: dict[str, tuple[Route, ...]]
    #: Linked input pins by name.
    pins: tuple[str, ...]
    #: Per slot: all links into the pin are static.
    is_static: tuple[bool, ...]
    #: How many linked pins are static.
    static_count: int
    #: Some linked or default pin addresses a part of a value.
    has_dynamic: bool
    #: The one linked pin, where a value of it is all that the node waits for: it needs no matching with others.
    only_pin: str | None
    #: Seconds that one run may take, as the node or else its block says; None where neither does.
    timeout_seconds: float | None
    retry: RetryPolicy | None
    #: Its block is trivial: it is run where the owner of the execution stands, without a task or a thread.
    is_inline: bool
    is_input: bool
    is_output: bool
    #: Whether the graph says what follows on a failure of this node.
    handles_error: bool


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """A graph version, shared by all its executions in a process and never changed."""

    id: str
    version: int
    #: In the order of their ids.
    nodes: tuple[CompiledNode, ...]
    #: Positions of nodes by id.
    positions: dict[str, int]
    #: Nodes without incoming links, in the order of their ids.
    starting: tuple[int, ...]
    #: Whether some starting node is an input block.
    has_inputs: bool
    policy: GraphPolicy

    @classmethod
    def compile(cls, graph: Graph, registry: BlockRegistry) -> CompiledGraph:
        """Take a checked graph apart.

        Raises:
            BlockNotFound: It uses a block that this process does not know.
        """
        nodes = sorted(graph.nodes, key=lambda node: node.id)
        positions = {node.id: i for i, node in enumerate(nodes)}
        incoming: defaultdict[str, list[Link]] = defaultdict(list)
        outgoing: defaultdict[str, list[Link]] = defaultdict(list)
        for link in sorted(graph.links, key=lambda link: link.id):
            incoming[link.sink_id].append(link)
            outgoing[link.source_id].append(link)
        slots = {sink: _slots(links) for sink, links in incoming.items()}
        compiled = tuple(
            _compile_node(
                node,
                registry.get(node.block_name),
                _routes(outgoing.get(node.id, ()), positions, slots),
                slots.get(node.id, {}),
                incoming.get(node.id, ()),
            )
            for node in nodes
        )
        starting = tuple(i for i, node in enumerate(compiled) if not node.pins)
        return cls(
            id=graph.id,
            version=graph.version,
            nodes=compiled,
            positions=positions,
            starting=starting,
            has_inputs=any(compiled[i].is_input for i in starting),
            policy=graph.policy,
        )


def _slots(links: Iterable[Link]) -> dict[str, int]:
    return {pin: slot for slot, pin in enumerate(sorted({link.sink_name for link in links}))}


def _routes(
    links: Iterable[Link], positions: dict[str, int], slots: dict[str, dict[str, int]]
) -> dict[str, tuple[Route, ...]]:
    routes: dict[str, list[Route]] = {}
    for link in links:
        base, steps = parse_pin(link.source_name)
        route = Route(steps, positions[link.sink_id], slots[link.sink_id][link.sink_name])
        routes.setdefault(base, []).append(route)
    return {pin: tuple(of_pin) for pin, of_pin in routes.items()}


def _compile_node(
    node: Node, block: Block, routes: dict[str, tuple[Route, ...]], slots: dict[str, int], links: Iterable[Link]
) -> CompiledNode:
    moving = {link.sink_name for link in links if not link.is_static}
    is_static = tuple(pin not in moving for pin in slots)
    has_dynamic = any(parse_pin(name).steps for name in (*slots, *node.input_default))
    timeout = node.policy.timeout_seconds or (block.timeout.total_seconds() if block.timeout is not None else None)
    retry = node.policy.retry or block.retry
    is_trivial = block.pure and not (block.blocking or block.is_async or block.streaming or block.heavy)
    is_single = len(slots) == 1 and not any(is_static) and not has_dynamic
    return CompiledNode(
        id=node.id,
        block=block,
        defaults=node.input_default,
        resolved_defaults=merge_inputs(node.input_default, {}),
        routes=routes,
        pins=tuple(slots),
        is_static=is_static,
        static_count=sum(is_static),
        has_dynamic=has_dynamic,
        only_pin=next(iter(slots)) if is_single else None,
        timeout_seconds=timeout,
        retry=retry,
        # What may be given up or run again needs a task of its own.
        is_inline=is_trivial and timeout is None and retry is None,
        is_input=block.name == INPUT_BLOCK,
        is_output=block.name == OUTPUT_BLOCK,
        handles_error=ERROR_PIN in routes,
    )
