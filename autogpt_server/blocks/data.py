"""Lists, objects and JSON: look up, add, walk through, parse and format."""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic import Field

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema
from autogpt_server.model.jsonvalue import loads

#: A list, named so that a pin may be called ``list``.
Items = list[Any]

_MISSING = object()


class FindInDictionaryBlock(Block):
    id = "0e50422c-6dee-4145-83d6-3a5a392f65de"
    aliases = ("b2g2c3d4-5e6f-7g8h-9i0j-k1l2m3n4o5p6", "ObjectLookupBlock", "ObjectLookup")
    description = "Looks up a key of an object, a position of a list, or a key of every object in a list."
    categories = frozenset({BlockCategory.DATA})
    pure = True
    blocking = False

    class Input(BlockSchema):
        input: Any = Field(description="An object, a list, or a text that holds one as JSON.")
        key: str | int = Field(description="A key, or a position from 0.")

    class Output(BlockSchema):
        output: Any = Field(description="What was found.")
        missing: Any = Field(description="The input, where nothing was found.")

    test_input = [
        {"input": {"apple": 1, "banana": 2}, "key": "banana"},
        {"input": {"x": 10}, "key": "w"},
        {"input": [1, 2, 3], "key": 1},
        {"input": [1, 2, 3], "key": "3"},
        {"input": [{"k": "v1"}, {"other": 2}, {"k": "v3"}], "key": "k"},
        {"input": '{"7": null}', "key": 7},
    ]
    test_output = [
        ("output", 2),
        ("missing", {"x": 10}),
        ("output", 2),
        ("missing", [1, 2, 3]),
        ("output", ["v1", "v3"]),
        ("output", None),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        found = _look_up(input_data.input, input_data.key)
        if found is _MISSING:
            yield "missing", input_data.input
        else:
            yield "output", found


def _look_up(holder: Any, key: str | int) -> Any:
    if isinstance(holder, str):
        try:
            holder = loads(holder)
        except ValueError:
            return _MISSING
    if isinstance(holder, dict):
        return cast(dict[str, Any], holder).get(str(key), _MISSING)
    if not isinstance(holder, list):
        return _MISSING
    items = cast(list[Any], holder)
    if str(key).isdecimal():
        return items[int(key)] if int(key) < len(items) else _MISSING
    return [item[key] for item in items if isinstance(item, dict) and key in item] or _MISSING


class AddToDictionaryBlock(Block):
    id = "31d1064e-7446-4693-a7d4-65e5ca1180d1"
    aliases = ("DictionaryAddEntryBlock",)
    description = "Adds entries to an object, or makes a new one."
    categories = frozenset({BlockCategory.DATA})
    pure = True
    blocking = False

    class Input(BlockSchema):
        dictionary: dict[str, Any] = Field(default={}, description="The object; empty by default.")
        key: str = Field(default="", description="The key of the new entry.")
        value: Any = Field(default=None, description="The value of the new entry.")
        entries: dict[str, Any] = Field(default={}, description="More entries; link to `entries_#_key`.")

    class Output(BlockSchema):
        updated_dictionary: dict[str, Any] = Field(description="The object with its new entries.")

    test_input = [
        {"dictionary": {"a": 1}, "key": "b", "value": 2},
        {"key": "a", "value": None, "entries": {"b": [2]}},
    ]
    test_output = [("updated_dictionary", {"a": 1, "b": 2}), ("updated_dictionary", {"a": None, "b": [2]})]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        entry = {input_data.key: input_data.value} if input_data.key else {}
        yield "updated_dictionary", input_data.dictionary | entry | input_data.entries


class AddToListBlock(Block):
    id = "aeb08fc1-2fc1-4141-bc8e-f758f183a822"
    aliases = ("ListAddEntryBlock",)
    description = "Adds entries to a list, or makes a new one."
    categories = frozenset({BlockCategory.DATA})
    pure = True
    blocking = False

    class Input(BlockSchema):
        list: Items = Field(default=[], description="The list; empty by default.")
        entry: Any = Field(default=None, description="The new entry; none is added where it is null.")
        entries: Items = Field(default=[], description="More entries; link to `entries_$_1` and so on.")
        position: int | None = Field(default=None, description="Where they go, from 0; at the end by default.")

    class Output(BlockSchema):
        updated_list: Items = Field(description="The list with its new entries.")

    test_input = [
        {"list": [1, 2], "entry": {"a": 3}, "position": 1},
        {"entry": "first"},
        {"list": ["a"], "entry": "b", "entries": ["c", None]},
    ]
    test_output = [
        ("updated_list", [1, {"a": 3}, 2]),
        ("updated_list", ["first"]),
        ("updated_list", ["a", "b", "c", None]),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        new = ([] if input_data.entry is None else [input_data.entry]) + input_data.entries
        position = len(input_data.list) if input_data.position is None else input_data.position
        yield "updated_list", [*input_data.list[:position], *new, *input_data.list[position:]]


class ListIteratorBlock(Block):
    id = "f66a3543-28d3-4ab5-8945-9b336371e2ce"
    aliases = ("f8e7d6c5-b4a3-2c1d-0e9f-8g7h6i5j4k3l", "StepThroughItemsBlock", "ForEachBlock")
    description = "Yields the items of a list or an object one by one, each with its position or key."
    categories = frozenset({BlockCategory.LOGIC, BlockCategory.DATA})
    pure = True

    class Input(BlockSchema):
        items: list[Any] | dict[str, Any] = Field(default=[], description="The items.")
        items_object: dict[str, Any] = Field(default={}, description="More items, as an object.")
        items_str: str = Field(default="", description="More items, as JSON.")

    class Output(BlockSchema):
        item: Any = Field(description="One item.")
        key: int | str = Field(description="Its position from 0, or its key.")

    test_input = [{"items": ["a", None]}, {"items_object": {"x": 1}}, {"items_str": "[[2]]"}]
    test_output = [
        ("item", "a"),
        ("key", 0),
        ("item", None),
        ("key", 1),
        ("item", 1),
        ("key", "x"),
        ("item", [2]),
        ("key", 0),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        more: object = _parse(input_data.items_str) if input_data.items_str else []
        if not isinstance(more, list | dict):
            raise BlockError("`items_str` holds neither a list nor an object")
        for items in (input_data.items, input_data.items_object, cast(list[Any] | dict[str, Any], more)):
            for key, item in items.items() if isinstance(items, dict) else enumerate(items):
                yield "item", item
                yield "key", key


class JsonParseBlock(Block):
    id = "ba6bcca8-f02c-47f8-8d43-23bac20da587"
    description = "Reads a JSON text."
    categories = frozenset({BlockCategory.DATA, BlockCategory.TEXT})
    pure = True

    class Input(BlockSchema):
        text: str = Field(description="The JSON text.")

    class Output(BlockSchema):
        value: Any = Field(description="The value in it.")

    test_input = {"text": '{"a": [1, 2.5, "ü", null]}'}
    test_output = [("value", {"a": [1, 2.5, "ü", None]})]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        yield "value", _parse(input_data.text)


class JsonFormatBlock(Block):
    id = "13ff625b-1c7e-4ce1-b798-fc08162d1ea1"
    description = "Writes a value as JSON."
    categories = frozenset({BlockCategory.DATA, BlockCategory.TEXT})
    pure = True

    class Input(BlockSchema):
        value: Any = Field(description="The value.")
        indent: int | None = Field(
            default=None, ge=0, le=8, description="Spaces per level; all on one line by default."
        )
        sort_keys: bool = Field(default=False, description="Put the keys of objects in order.")

    class Output(BlockSchema):
        text: str = Field(description="The JSON text.")

    test_input = [{"value": {"b": "ü", "a": [1]}}, {"value": {"b": 2, "a": 1}, "indent": 1, "sort_keys": True}]
    test_output = [("text", '{"b": "ü", "a": [1]}'), ("text", '{\n "a": 1,\n "b": 2\n}')]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        yield (
            "text",
            json.dumps(input_data.value, indent=input_data.indent, sort_keys=input_data.sort_keys, ensure_ascii=False),
        )


def _parse(text: str) -> Any:
    try:
        return loads(text)
    except ValueError as error:
        raise BlockError(f"this is no JSON: {error}") from None
