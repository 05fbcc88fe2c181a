"""Blocks as people and programs see them: their pins with types and defaults."""

from __future__ import annotations

import json
from typing import Any

from autogpt_server.model.block import Block


def as_dict(block: Block) -> dict[str, Any]:
    """Write a block as the REST interface does."""
    return {
        "id": block.id,
        "name": block.name,
        "description": block.description,
        "categories": sorted(block.categories),
        "input_schema": block.input_schema,
        "output_schema": block.output_schema,
        "static_output": block.static_output,
    }


def matches(block: Block, word: str) -> bool:
    """Tell whether a word stands in the block's name, description or categories, whatever its case."""
    return word.lower() in " ".join([block.name, block.description, *block.categories]).lower()


def input_rows(block: Block) -> list[tuple[str, str, str, str]]:
    """List input pins as (name, type, default, description); a pin that must be given says "required"."""
    schema = block.input_schema
    return [
        (
            name,
            _type(pin, schema),
            "required" if name in block.required_pins else json.dumps(pin.get("default"), ensure_ascii=False),
            pin.get("description", ""),
        )
        for name, pin in schema.get("properties", {}).items()
    ]


def output_rows(block: Block) -> list[tuple[str, str, str]]:
    """List output pins as (name, type, description), with the ``error`` pin that every block has."""
    schema = block.output_schema
    pins = schema.get("properties", {})
    rows = [(name, _type(pin, schema), pin.get("description", "")) for name, pin in pins.items()]
    return rows if "error" in pins else [*rows, ("error", "string", "The message, when the block fails.")]


def _type(pin: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in pin:
        pin = schema.get("$defs", {}).get(pin["$ref"].rpartition("/")[2], {})
    if "enum" in pin:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in pin["enum"])
    if "const" in pin:
        return json.dumps(pin["const"], ensure_ascii=False)
    if "anyOf" in pin:
        return " | ".join(_type(option, schema) for option in pin["anyOf"])
    if pin.get("type") == "array" and pin.get("items"):
        return f"array of {_type(pin['items'], schema)}"
    return str(pin.get("type", "any"))
