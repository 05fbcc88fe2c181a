"""Reads graphs from JSON: in our own form, and as AutoGPT's servers have exported them since 2024.

Exports repeat links inside nodes, know blocks by old ids, carry sub-graphs, and hold fields that mean nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.block import ERROR_PIN, EXECUTOR_BLOCK, Block, BlockRegistry
from autogpt_server.model.check import Limits, Places, check_graph
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.graph_document import Findings, GraphFields, LinkFields, NodeFields, read_graph
from autogpt_server.model.ids import canonical_id, new_id
from autogpt_server.model.jsonvalue import storable_text
from autogpt_server.model.pin_types import PinType
from autogpt_server.model.pins import base_name
from autogpt_server.model.suggestions import short

#: Problems of one document that are told; there may be one per node.
MAX_PROBLEMS = 100
#: Sub-graphs that one document may carry.
MAX_SUB_GRAPHS = 100

#: Pins of the block that executes a graph; older exports know its inputs by another name.
_GRAPH_PIN, _VERSION_PIN, _INPUTS_PIN, _OLD_INPUTS_PIN = "graph_id", "graph_version", "inputs", "data"


@dataclass(frozen=True, slots=True)
class ParsedGraph:
    """A graph that was read, and what came with it.

    ``sub_graphs`` are to be stored first.  Nodes that execute one of them name no version of it: they execute the
    active one, which is what storing makes them.
    """

    graph: Graph
    sub_graphs: tuple[Graph, ...] = ()
    warnings: tuple[Problem, ...] = ()


def parse_graph(document: Any, registry: BlockRegistry, limits: Limits, *, new_ids: bool = False) -> ParsedGraph:
    """Read and check a graph: ``{"graph": {...}}`` or the graph itself.

    Args:
        document: Any JSON value.
        registry: The blocks that it may use.
        limits: Of the size of each graph in it.
        new_ids: Replace the ids of graphs, nodes and links, and what refers to them.

    Raises:
        InvalidError: With the problems of all its parts, the first hundred of them.
    """
    findings = Findings()
    raw, place = _unwrap(document, findings)
    _check_size(raw, place, limits, findings)
    _stop_at(findings)
    read = [read_graph(raw, place, findings), *_read_sub_graphs(raw, place, findings)]
    graphs: list[Graph] = []
    for fields in read:
        graph, places = _assemble(fields, registry, {f.id for f in read}, findings)
        findings.problems += check_graph(graph, registry, limits, places=places, any_ids=new_ids)
        graphs.append(graph)
    _check_graph_ids(read, findings)
    _stop_at(findings)
    if new_ids:
        graphs = _renew(graphs)
    return ParsedGraph(graphs[0], tuple(graphs[1:]), tuple(findings.warnings.values())[:MAX_PROBLEMS])


def _unwrap(document: Any, findings: Findings) -> tuple[dict[str, Any], str]:
    if isinstance(document, dict):
        outer = cast(dict[str, Any], document)
        inner = outer.get("graph")
        if "graph" not in outer or "nodes" in outer:
            return outer, ""
        if isinstance(inner, dict):
            for key in outer.keys() - {"graph"}:
                findings.warn_unknown("document", storable_text(key), "")
            return cast(dict[str, Any], inner), "graph"
    fix = 'send {"nodes": [...], "links": [...]} or {"graph": {...}}'
    findings.problem("graph", "the document holds no graph", fix)
    return {}, ""


def _check_size(raw: dict[str, Any], place: str, limits: Limits, findings: Findings) -> None:
    """Refuse what is too large before looking at each part of it."""
    for key, limit in (("nodes", limits.nodes), ("links", limits.links), ("sub_graphs", MAX_SUB_GRAPHS)):
        value = raw.get(key)
        if isinstance(value, list) and len(cast(list[Any], value)) > limit:
            message = f"has {len(cast(list[Any], value)):,} {key}, the limit is {limit:,}"
            findings.problem(_at(place, key), message, "use several graphs")


def _stop_at(findings: Findings) -> None:
    problems = findings.problems
    if not problems:
        return
    shown = problems[:MAX_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(Problem("graph", f"and {len(problems) - len(shown):,} more problems", "mend those above first"))
    raise InvalidError("The graph was refused.", shown)


def _read_sub_graphs(raw: dict[str, Any], place: str, findings: Findings) -> list[GraphFields]:
    value = raw.get("sub_graphs")
    if value is None:
        return []
    path = _at(place, "sub_graphs")
    if not isinstance(value, list):
        findings.problem(path, "must be a list of graphs", "give a list")
        return []
    found: list[GraphFields] = []
    for i, item in enumerate(cast(list[Any], value)):
        here = f"{path}[{i}]"
        if not isinstance(item, dict):
            findings.problem(here, "is no graph", "give an object with nodes and links")
        elif cast(dict[str, Any], item).get("sub_graphs"):
            findings.problem(f"{here}.sub_graphs", "sub-graphs hold no others", "list all of them in the outer graph")
        else:
            found.append(read_graph(cast(dict[str, Any], item), here, findings))
    return found


def _check_graph_ids(graphs: Iterable[GraphFields], findings: Findings) -> None:
    seen: set[str] = set()
    for graph in graphs:
        if graph.id in seen:
            findings.problem(_at(graph.place, "id"), "is the id of another graph in this document", "remove one")
        seen.add(graph.id)


def _assemble(
    fields: GraphFields, registry: BlockRegistry, graph_ids: set[str], findings: Findings
) -> tuple[Graph, Places]:
    """Make the graph: blocks found by any id or name they ever had, links once each."""
    links = _distinct_links(fields)
    if fields.is_export:
        links = _sub_graph_pins(links, fields.nodes, registry)
    linked: dict[str, set[str]] = {}
    for link in links:
        linked.setdefault(link.sink_id, set()).add(link.sink_name)
    nodes = [
        _assemble_node(
            node,
            registry,
            _Defaults(findings, fields.is_export, linked.get(node.id, set()), graph_ids),
        )
        for node in fields.nodes
    ]
    static = {node.id for node in nodes if (block := registry.find(node.block_name)) and block.static_output}
    graph = Graph(
        id=fields.id,
        version=fields.version,
        name=fields.name,
        description=fields.description,
        is_active=fields.is_active,
        is_template=fields.is_template,
        policy=fields.policy,
        nodes=tuple(nodes),
        links=tuple(
            Link(
                id=link.id,
                source_id=link.source_id,
                source_name=link.source_name,
                sink_id=link.sink_id,
                sink_name=link.sink_name,
                is_static=link.is_static or link.source_id in static,
            )
            for link in links
        ),
    )
    return graph, Places(fields.place, [node.place for node in fields.nodes], [link.place for link in links])


def _distinct_links(fields: GraphFields) -> list[LinkFields]:
    """Drop repetitions: inside nodes they are the rule, in the list of an export they do no harm."""
    ids: set[str] = set()
    ends: set[tuple[str, str, str, str]] = set()
    distinct: list[LinkFields] = []
    for link in fields.links:
        may_repeat = link.is_inner or fields.is_export
        if may_repeat and (link.ends in ends or (link.is_inner and link.id in ids)):
            continue
        ids.add(link.id)
        ends.add(link.ends)
        distinct.append(link)
    return distinct


def _sub_graph_pins(links: list[LinkFields], nodes: Iterable[NodeFields], registry: BlockRegistry) -> list[LinkFields]:
    """Let links name parts of ``inputs`` and ``outputs`` where an export names pins of the executed graph itself."""
    executors = {node.id: block for node in nodes if (block := _find_block(node, registry)) and _executes(block)}
    renamed: list[LinkFields] = []
    for link in links:
        source, sink = executors.get(link.source_id), executors.get(link.sink_id)
        if source is not None and base_name(link.source_name) not in {*source.Output.model_fields, ERROR_PIN}:
            link = replace(link, source_name=f"outputs_#_{link.source_name}")
        if sink is not None and base_name(link.sink_name) not in sink.Input.model_fields:
            link = replace(link, sink_name=f"inputs_#_{link.sink_name}")
        renamed.append(link)
    return renamed


def _executes(block: Block) -> bool:
    return block.name == EXECUTOR_BLOCK


def _find_block(node: NodeFields, registry: BlockRegistry) -> Block | None:
    by_name = registry.find(node.block_name) if node.block_name else None
    return by_name or (registry.find(node.block_id) if node.block_id else None)


@dataclass(slots=True)
class _Defaults:
    """What has to be known to make sense of a node's defaults."""

    findings: Findings
    is_export: bool
    linked: set[str]
    graph_ids: set[str]

    def read(self, node: NodeFields, block: Block) -> dict[str, Any]:
        """Return the defaults that this block takes; only from exports are others dropped."""
        defaults = node.input_default
        if _executes(block) and canonical_id(str(defaults.get(_GRAPH_PIN))) in self.graph_ids:
            defaults = {pin: value for pin, value in defaults.items() if pin != _VERSION_PIN}
        if not self.is_export:
            return defaults
        if _executes(block) and _OLD_INPUTS_PIN in defaults:
            defaults = {_INPUTS_PIN: defaults[_OLD_INPUTS_PIN], **defaults}
            del defaults[_OLD_INPUTS_PIN]
        return {pin: value for pin, value in defaults.items() if self._keeps(node, block, pin, value)}

    def _keeps(self, node: NodeFields, block: Block, pin: str, value: Any) -> bool:
        base = base_name(pin)
        if base not in block.Input.model_fields:
            reason = f"{block.name} has no input pin {short(base)!r}; its value is ignored"
        elif value is None and base == pin and not PinType.of_input(block, pin).accepts_null:
            reason = f"pin {base!r} of {block.name} takes no null; it is left to its default"
        else:
            return True
        self.findings.warn(f"{block.name}.{short(base)}", f"{node.place}.input_default.{short(pin)}", reason)
        return False


def _assemble_node(node: NodeFields, registry: BlockRegistry, defaults: _Defaults) -> Node:
    by_id = registry.find(node.block_id) if node.block_id else None
    block = _find_block(node, registry)
    if block is None:
        block_id, block_name, values = node.block_id, node.block_name, node.input_default
    else:
        # An id that belongs to another block than the name is kept, for the check to tell.
        block_id = block.id if by_id in (None, block) else node.block_id
        block_name, values = block.name, defaults.read(node, block)
    return Node(
        id=node.id,
        block_id=block_id,
        block_name=block_name,
        input_default=values,
        metadata=node.metadata,
        policy=node.policy,
    )


def _renew(graphs: list[Graph]) -> list[Graph]:
    """Give new ids to graphs, nodes and links, and keep what refers to them true."""
    graph_ids = {graph.id: new_id() for graph in graphs}
    return [_renew_graph(graph, graph_ids) for graph in graphs]


def _renew_graph(graph: Graph, graph_ids: dict[str, str]) -> Graph:
    node_ids = {node.id: new_id() for node in graph.nodes}
    nodes: list[Node] = []
    for node in graph.nodes:
        values = node.input_default
        executed = canonical_id(str(values.get(_GRAPH_PIN))) if node.block_name == EXECUTOR_BLOCK else ""
        if executed in graph_ids:
            values = {**values, _GRAPH_PIN: graph_ids[executed]}
        nodes.append(node.model_copy(update={"id": node_ids[node.id], "input_default": values}))
    links = [
        link.model_copy(
            update={"id": new_id(), "source_id": node_ids[link.source_id], "sink_id": node_ids[link.sink_id]}
        )
        for link in graph.links
    ]
    new = {"id": graph_ids[graph.id], "version": 1, "nodes": tuple(nodes), "links": tuple(links)}
    return graph.model_copy(update=new)


def _at(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
