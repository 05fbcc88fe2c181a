"""What a pin's JSON Schema lets through: only as much as is needed to refuse what can never fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from autogpt_server.model.block import ERROR_PIN, Block
from autogpt_server.model.pins import Steps

Schema = dict[str, Any]

_ANYTHING: Schema = {}
_CONTAINERS = frozenset({"object", "array"})
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


class PinType:
    """The values that a pin, or a part of one, may hold: a union of schemas; none means that nothing fits."""

    def __init__(self, schemas: tuple[Schema, ...], definitions: Schema) -> None:
        self._schemas, self._definitions = schemas, definitions

    @classmethod
    def of_input(cls, block: Block, pin: str) -> PinType:
        """Describe an input pin that the block has."""
        return cls._of(block.input_schema, pin)

    @classmethod
    def of_output(cls, block: Block, pin: str) -> PinType:
        """Describe an output pin that the block has, ``error`` included."""
        if pin == ERROR_PIN and pin not in block.output_schema.get("properties", {}):
            return cls(({"type": "string"},), {})
        return cls._of(block.output_schema, pin)

    @classmethod
    def _of(cls, schema: Schema, pin: str) -> PinType:
        definitions: Schema = schema.get("$defs", {})
        return cls(tuple(_variants(schema.get("properties", {}).get(pin, _ANYTHING), definitions, set())), definitions)

    def part(self, steps: Steps) -> PinType:
        """Describe what the steps lead to."""
        schemas = self._schemas
        for step in steps:
            inner = [found for schema in schemas if (found := _descend(schema, step)) is not None]
            schemas = tuple(s for schema in inner for s in _variants(schema, self._definitions, set()))
        return PinType(schemas, self._definitions)

    @property
    def is_impossible(self) -> bool:
        return not self._schemas

    @property
    def accepts_null(self) -> bool:
        return any(not _types(schema) or "null" in _types(schema) for schema in self._schemas)

    def never_fits(self, sink: PinType) -> bool:
        """Tell whether no value of this type can enter the sink: text or numbers against lists or objects."""
        return _shapes(self).isdisjoint(_shapes(sink))

    def __str__(self) -> str:
        return " or ".join(sorted({name for s in self._schemas for name in _types(s) or {"anything"}})) or "nothing"


def _variants(schema: Schema, definitions: Schema, seen: set[str]) -> Iterator[Schema]:
    """Yield the schemas of a union, each with a type of its own.  Types may refer to themselves."""
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        if name not in seen:
            yield from _variants(definitions.get(name, _ANYTHING), definitions, seen | {name})
    elif "anyOf" in schema or "oneOf" in schema:
        for option in schema.get("anyOf") or schema["oneOf"]:
            yield from _variants(option, definitions, seen)
    else:
        yield schema


def _types(schema: Schema) -> set[str]:
    """Name the JSON types of a schema; empty where it does not say."""
    if "type" in schema:
        named: str | list[str] = schema["type"]
        return {named} if isinstance(named, str) else set(named)
    values: list[Any] = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return {_NAMES.get(cast(type[Any], type(value)), "null") for value in values}


def _shapes(pin_type: PinType) -> set[str]:
    """Reduce to what never converts into each other; null, and what does not say, may be either."""
    shapes: set[str] = set()
    for schema in pin_type._schemas:  # pyright: ignore[reportPrivateUsage]
        types = _types(schema)
        if not types or "null" in types:
            return {"scalar", "container"}
        shapes |= {"container" if name in _CONTAINERS else "scalar" for name in types}
    return shapes


def _descend(schema: Schema, step: int | str) -> Schema | None:
    types = _types(schema)
    if not types:
        return _ANYTHING
    if isinstance(step, int):
        if "array" not in types:
            return None
        items = schema.get("items", _ANYTHING)
        return cast(Schema, items) if isinstance(items, dict) and "prefixItems" not in schema else _ANYTHING
    if "object" not in types:
        return None
    properties: Schema = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    if step in properties:
        return properties[step]
    return None if more is False else cast(Schema, more) if isinstance(more, dict) else _ANYTHING
