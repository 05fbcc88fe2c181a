"""What a valid graph is, and what inputs it takes.  Every problem is found at once, with its place and a fix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from autogpt_server.errors import Problem
from autogpt_server.model.block import ERROR_PIN, INPUT_BLOCK, OUTPUT_BLOCK, Block, BlockRegistry
from autogpt_server.model.credential_inputs import credential_inputs
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.ids import is_uuid
from autogpt_server.model.pin_types import PinType
from autogpt_server.model.pins import Pin, base_name, parse_pin
from autogpt_server.model.suggestions import Suggestions, as_path, short

#: Wrong values of one node that are told one by one.
_MAX_VALUE_ERRORS = 100

_NAME_PIN, _VALUE_PIN = "name", "value"


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a graph may be."""

    nodes: int
    links: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a graph stand in the document that it was read from."""

    root: str = ""
    nodes: Sequence[str] = ()
    links: Sequence[str] = ()

    @classmethod
    def of(cls, graph: Graph) -> Places:
        """Return the places in the graph's own JSON."""
        return cls(
            "",
            [f"nodes[{i}]" for i in range(len(graph.nodes))],
            [f"links[{i}]" for i in range(len(graph.links))],
        )


def check_graph(
    graph: Graph, registry: BlockRegistry, limits: Limits, *, places: Places | None = None, any_ids: bool = False
) -> list[Problem]:
    """Return everything that is wrong with a graph; of a graph beyond its limits, only that.

    Args:
        graph: What to check.
        registry: The blocks that it may use.
        limits: Of its size.
        places: Where its parts are called in the problems; by default as in its own JSON.
        any_ids: Accept ids that are no UUIDs, because they will be replaced.
    """
    checker = _Checker(graph, registry, places or Places.of(graph))
    return list(checker.check_limits(limits)) or list(checker.check(any_ids=any_ids))


def check_inputs(graph: Graph, inputs: dict[str, Any]) -> list[Problem]:
    """Return everything that is wrong with the names of an execution's inputs.

    A graph without input blocks takes any: what is no pin of a starting node is dropped there.
    """
    needs = graph.needs_input
    if not needs:
        return []
    unknown = [name for name in inputs if name not in needs]
    missing = [name for name, is_needed in needs.items() if is_needed and name not in inputs]
    if not unknown and not missing:
        return []
    suggest = Suggestions()
    return [
        *(Problem(as_path(name), "the graph has no input of this name", suggest(name, needs)) for name in unknown),
        *(Problem(name, "this input is missing and has no default", "give it a value") for name in missing),
    ]


def input_schema(graph: Graph, registry: BlockRegistry) -> dict[str, Any]:
    """Return the JSON Schema of the inputs that an execution takes.

    One that leads to a pin for credentials says so by ``credentials_providers`` and ``credentials_types``: those that
    the pin lets through; empty ones let any.
    """
    credentials = {
        name: {"credentials_providers": sorted(pin.providers), "credentials_types": sorted(pin.types)}
        for name, pin in credential_inputs(graph, registry).items()
    }
    if not graph.input_nodes:
        pins = {
            pin: {key: schema[key] for key in ("title", "description") if key in schema} | credentials.get(pin, {})
            for node in graph.starting_nodes
            if (block := registry.find(node.block_name)) is not None
            for pin, schema in block.input_schema.get("properties", {}).items()
        }
        return {"type": "object", "properties": pins, "required": [], "additionalProperties": True}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for node in graph.input_nodes:
        name, described = _describe(node)
        described |= credentials.get(name, {})
        if _VALUE_PIN in node.input_default:
            described["default"] = node.input_default[_VALUE_PIN]
        elif name not in required:
            required.append(name)
        properties[name] = described
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def output_schema(graph: Graph, registry: BlockRegistry) -> dict[str, Any]:
    """Return the JSON Schema of the outputs of an execution: a list of values for every name."""
    properties: dict[str, Any] = {}
    for node in graph.output_nodes:
        name, described = _describe(node)
        properties[name] = {"type": "array", "items": {}, **described}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _describe(node: Node) -> tuple[str, dict[str, Any]]:
    name, defaults = str(node.input_default.get(_NAME_PIN)), node.input_default
    texts = {key: defaults[key] for key in ("title", "description") if isinstance(defaults.get(key), str)}
    return name, {"title": name} | {key: text for key, text in texts.items() if text}


class _Checker:
    """One look at one graph.  Every step is linear in its size."""

    def __init__(self, graph: Graph, registry: BlockRegistry, places: Places) -> None:
        self._graph, self._registry, self._places = graph, registry, places
        self._suggest = Suggestions()
        self._blocks: dict[str, Block | None] = {}
        self._fed: dict[str, set[str]] = {}
        for link in graph.links:
            self._fed.setdefault(link.sink_id, set()).add(link.sink_name)

    def check_limits(self, limits: Limits) -> Iterator[Problem]:
        for name, count, limit in (
            ("nodes", len(self._graph.nodes), limits.nodes),
            ("links", len(self._graph.links), limits.links),
        ):
            if count > limit:
                path = self._at(self._places.root, name)
                yield Problem(path, f"has {count:,} {name}, the limit is {limit:,}", "use several graphs")

    def check(self, *, any_ids: bool) -> Iterator[Problem]:
        yield from self._check_ids(any_ids)
        for place, node in zip(self._places.nodes, self._graph.nodes, strict=True):
            block = self._registry.find(node.block_name) or self._registry.find(node.block_id)
            self._blocks.setdefault(node.id, block)
            if block is None:
                yield self._unknown_block(place, node)
            else:
                yield from self._check_node(place, node, block)
        for place, link in zip(self._places.links, self._graph.links, strict=True):
            yield from self._check_link(place, link)

    def _check_ids(self, any_ids: bool) -> Iterator[Problem]:
        graph, places = self._graph, self._places
        if not any_ids and not is_uuid(graph.id):
            yield _no_uuid(self._at(places.root, "id"), graph.id)
        nodes = [(f"{place}.id", node.id) for place, node in zip(places.nodes, graph.nodes, strict=True)]
        links = [(f"{place}.id", link.id) for place, link in zip(places.links, graph.links, strict=True)]
        for path, one_id in (*nodes, *links):
            if not any_ids and not is_uuid(one_id):
                yield _no_uuid(path, one_id)
        yield from _doubles(nodes, lambda one_id: f"node id {short(one_id)}")
        yield from _doubles(links, lambda one_id: f"link id {short(one_id)}")
        ends = [
            (place, (link.source_id, link.source_name, link.sink_id, link.sink_name))
            for place, link in zip(places.links, graph.links, strict=True)
        ]
        yield from _doubles(ends, lambda e: f"link from {_pin(e[0], e[1])} to {_pin(e[2], e[3])}")

    def _unknown_block(self, place: str, node: Node) -> Problem:
        key, name = ("block_name", node.block_name) if node.block_name else ("block_id", node.block_id)
        if not name:
            return Problem(place, f"node {short(node.id)} names no block", "set block_name or block_id")
        known = [block.name for block in self._registry]
        message = f"node {short(node.id)} uses the unknown block {short(name)!r}"
        return Problem(f"{place}.{key}", message, self._suggest(name, known))

    def _check_node(self, place: str, node: Node, block: Block) -> Iterator[Problem]:
        other = self._registry.find(node.block_id) if node.block_id else None
        if other is not None and other is not block:
            message = f"node {short(node.id)} has the block_id of {other.name}, but the block_name {block.name}"
            yield Problem(f"{place}.block_id", message, f"remove it, or use {block.id}")
        known: dict[str, Any] = {}
        for name, value in node.input_default.items():
            problem = self._check_input_pin(f"{place}.input_default.{short(name)}", node.id, block, parse_pin(name))
            if problem is not None:
                yield problem
            elif name not in self._fed.get(node.id, ()):
                known[name] = value
        yield from self._check_values(place, node, block, known)
        yield from self._check_required(place, node, block)
        if block.name in (INPUT_BLOCK, OUTPUT_BLOCK):
            yield from self._check_name(place, node, block)

    def _check_values(self, place: str, node: Node, block: Block, values: dict[str, Any]) -> Iterator[Problem]:
        """Validate defaults that the block will see; parts of pins are left to the block."""
        plain = {name: value for name, value in values.items() if not parse_pin(name).steps}
        try:
            block.Input.model_validate(plain)
        except ValidationError as error:
            if error.error_count() > _MAX_VALUE_ERRORS:
                message = f"node {short(node.id)} ({block.name}): {error.error_count():,} values do not fit their pins"
                yield Problem(f"{place}.input_default", message, f"give values that fit the input of {block.name}")
                return
            for item in error.errors(include_url=False, include_input=False, include_context=False):
                where = item["loc"]
                if not where or str(where[0]) not in plain:
                    continue
                pin = str(where[0])
                path = f"{place}.input_default.{pin}" + "".join(
                    f"[{step}]" if isinstance(step, int) else f".{short(step)}" for step in where[1:]
                )
                message = f"node {short(node.id)} ({block.name}): the value for pin {pin!r} does not fit"
                yield Problem(path, f"{message}: {item['msg']}", f"give {PinType.of_input(block, pin)}")

    def _check_required(self, place: str, node: Node, block: Block) -> Iterator[Problem]:
        fed = self._fed.get(node.id)
        if fed is None and not self._graph.input_nodes:
            return  # such a node takes the inputs of the execution
        given = {base_name(name) for name in (*(fed or ()), *node.input_default)}
        for pin in sorted(block.required_pins - given):
            if block.name == INPUT_BLOCK and pin == _VALUE_PIN:
                continue
            message = f"node {short(node.id)} ({block.name}): the required pin {pin!r} has neither a link nor a value"
            yield Problem(f"{place}.input_default.{pin}", message, "link an output to it, or set it in input_default")

    def _check_name(self, place: str, node: Node, block: Block) -> Iterator[Problem]:
        name = node.input_default.get(_NAME_PIN)
        path = f"{place}.input_default.{_NAME_PIN}"
        if _NAME_PIN in {base_name(pin) for pin in self._fed.get(node.id, ())}:
            yield Problem(path, f"node {short(node.id)} ({block.name}): its name is linked", "set a constant name")
        elif not isinstance(name, str) or not name:
            message = f"node {short(node.id)} ({block.name}) has no name"
            yield Problem(path, message, "set it to the name of the graph's input or output")

    def _check_link(self, place: str, link: Link) -> Iterator[Problem]:
        missing = False
        for key, end in (("source_id", link.source_id), ("sink_id", link.sink_id)):
            if end not in self._blocks:
                missing = True
                fix = "links join nodes of one graph; name one of its nodes"
                yield Problem(f"{place}.{key}", f"the graph has no node {short(end)}", fix)
        source, sink = self._blocks.get(link.source_id), self._blocks.get(link.sink_id)
        out, into = parse_pin(link.source_name), parse_pin(link.sink_name)
        problems = [
            source and self._check_output_pin(f"{place}.source_name", link.source_id, source, out),
            sink and self._check_input_pin(f"{place}.sink_name", link.sink_id, sink, into),
        ]
        yield from filter(None, problems)
        if missing or source is None or sink is None or any(problems):
            return
        leaving = PinType.of_output(source, out.base).part(out.steps)
        entering = PinType.of_input(sink, into.base).part(into.steps)
        if leaving.never_fits(entering):
            message = (
                f"{_pin(link.source_id, link.source_name)} gives {leaving}, "
                f"which never fits {_pin(link.sink_id, link.sink_name)} that takes {entering}"
            )
            yield Problem(place, message, "link another pin, or put a block that converts between them")

    def _check_input_pin(self, path: str, node_id: str, block: Block, pin: Pin) -> Problem | None:
        known = block.Input.model_fields
        return self._check_pin(path, node_id, block, pin, "input", known, partial(PinType.of_input, block))

    def _check_output_pin(self, path: str, node_id: str, block: Block, pin: Pin) -> Problem | None:
        known = {**block.Output.model_fields, ERROR_PIN: None}
        return self._check_pin(path, node_id, block, pin, "output", known, partial(PinType.of_output, block))

    def _check_pin(
        self,
        path: str,
        node_id: str,
        block: Block,
        pin: Pin,
        direction: str,
        known: Iterable[str],
        type_of: Callable[[str], PinType],
    ) -> Problem | None:
        where = f"node {short(node_id)} ({block.name})"
        if pin.base not in known:
            message = f"{where} has no {direction} pin {short(pin.base)!r}"
            if "_$_" in pin.base:
                return Problem(path, message, "a whole number belongs after _$_")
            return Problem(path, message, self._suggest(pin.base, known))
        pin_type = type_of(pin.base)
        if pin.steps and pin_type.part(pin.steps).is_impossible:
            message = f"{where}: the {direction} pin {pin.base!r} holds {pin_type}, which has no such parts"
            return Problem(path, message, f"use {pin.base!r} itself")
        return None

    @staticmethod
    def _at(root: str, name: str) -> str:
        return f"{root}.{name}" if root else name


def _doubles(keyed: Sequence[tuple[str, Any]], describe: Callable[[Any], str]) -> Iterator[Problem]:
    first: dict[Any, str] = {}
    for place, key in keyed:
        if key in first:
            yield Problem(place, f"the {describe(key)} is there twice; first at {first[key]}", "remove one of them")
        else:
            first[key] = place


def _no_uuid(path: str, text: str) -> Problem:
    return Problem(path, f"{short(text)!r} is no UUID", "use a UUID, or ask for new ids")


def _pin(node_id: str, pin: str) -> str:
    return f"{short(node_id)}.{short(pin)}"
