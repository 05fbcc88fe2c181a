"""Texts: combine, fill, split."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

from pydantic import Field

from autogpt_server.blocks.templates import render
from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema

#: Characters of a combined text.
_MAX_TEXT = 10_000_000
#: What may stand behind the colon of a field: alignment and width, as in ``{text1:>10}``.
_FORMAT_SPEC = re.compile(r"(.?[<>^])?\d{0,3}(\.\d{1,3})?s?")
#: How a list's item is named in a format; no other index and no attribute is ever looked up.
_LIST_ITEM = re.compile(r"texts\[(\d{1,6})\]")


class TextCombinerBlock(Block):
    id = "db7d8f02-2f44-4c55-ab7a-eae0941f0c30"
    description = "Combines texts, by a format with {text1} or {0}, or one after the other where no format is given."
    categories = frozenset({BlockCategory.TEXT})
    pure = True
    blocking = False

    class Input(BlockSchema):
        text1: str | None = Field(default=None, description="The first text.")
        text2: str | None = Field(default=None, description="The second text.")
        texts: list[str] = Field(default=[], description="More texts; link to `texts_$_1`, `texts_$_2` and so on.")
        format: str = Field(
            default="",
            description="The result with fields: {text1}, {text2}, {texts[0]}, or {0}, {1} counted over all texts.",
        )

    class Output(BlockSchema):
        combined_text: str = Field(description="The result.")

    test_input = [
        {"text1": "Hello", "text2": "World!", "format": "{text1}, {text2}"},
        {"texts": ["a", "b"], "format": "{1:>3}-{texts[0]}-{{}}"},
        {"text1": "a", "texts": ["b", "c"]},
    ]
    test_output = [("combined_text", "Hello, World!"), ("combined_text", "  b-a-{}"), ("combined_text", "abc")]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        texts = [text for text in (input_data.text1, input_data.text2) if text is not None] + input_data.texts
        if not input_data.format:
            yield "combined_text", "".join(texts)
            return
        named = {str(position): text for position, text in enumerate(texts)}
        named |= {f"texts[{position}]": text for position, text in enumerate(input_data.texts)}
        named |= {name: text for name in ("text1", "text2") if (text := getattr(input_data, name)) is not None}
        yield "combined_text", _fill(input_data.format, named)


def _fill(template: str, texts: dict[str, str]) -> str:
    """Put texts into a format.  Unlike ``str.format`` it looks nothing up inside of them."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise BlockError(f"the format is wrong: {error}; write {{{{ and }}}} for plain braces") from None
    filled: list[str] = []
    size = count = 0
    for literal, field, spec, conversion in pieces:
        filled.append(literal)
        if field is not None:
            filled.append(_field(field or str(count), spec or "", conversion, texts))
            count += not field
        size += len(literal) + len(filled[-1])
        if size > _MAX_TEXT:
            raise BlockError(f"the combined text has more than {_MAX_TEXT:,} characters")
    return "".join(filled)


def _field(name: str, spec: str, conversion: str | None, texts: dict[str, str]) -> str:
    if not (name.isidentifier() or name.isdecimal() or _LIST_ITEM.fullmatch(name)):
        raise BlockError(f"the format's field {{{name}}} is no plain name or number")
    if conversion or not _FORMAT_SPEC.fullmatch(spec):
        raise BlockError(
            f"the format's field {{{name}}} has {conversion or spec!r}; only alignment and width may stand"
        )
    if name not in texts:
        known = ", ".join(f"{{{known}}}" for known in texts) or "none"
        raise BlockError(f"the format's field {{{name}}} has no text; texts given: {known}")
    return format(texts[name], spec)


class CombineTextsBlock(Block):
    id = "e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85"
    description = "Joins a list of texts with a delimiter."
    categories = frozenset({BlockCategory.TEXT})
    pure = True
    blocking = False

    class Input(BlockSchema):
        input: list[str] = Field(description="The texts.")
        delimiter: str = Field(default="", description="What to put between them.")

    class Output(BlockSchema):
        output: str = Field(description="The result.")

    test_input = [{"input": ["a", "b", 3], "delimiter": ", "}, {"input": []}]
    test_output = [("output", "a, b, 3"), ("output", "")]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        yield "output", input_data.delimiter.join(input_data.input)


class TextFormatterBlock(Block):
    id = "5095388c-d680-4c1f-aa06-1096deb24c2b"
    aliases = ("FillTextTemplateBlock",)
    description = "Fills values into a Jinja template."
    categories = frozenset({BlockCategory.TEXT})
    pure = True

    class Input(BlockSchema):
        template: str = Field(default="", description="The template, like `Hello {{ name }}`.")
        format: str = Field(default="", description="The template under its other name.")
        values: dict[str, Any] = Field(default={}, description="The values by name; link to `values_#_name`.")
        escape_html: bool = Field(default=False, description="Make the values safe inside HTML.")

    class Output(BlockSchema):
        output: str = Field(description="The filled template.")

    test_input = [
        {"template": "Hello {{ name }}!", "values": {"name": "World"}},
        {"format": "{% for n in l %}{{ n * 2 }} {% endfor %}", "values": {"l": [1, 2]}},
        {"template": "{{ x }}", "values": {"x": "<b>"}, "escape_html": True},
    ]
    test_output = [("output", "Hello World!"), ("output", "2 4 "), ("output", "&lt;b&gt;")]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        template = input_data.template or input_data.format
        yield "output", render(template, input_data.values, escape_html=input_data.escape_html)


class TextSplitBlock(Block):
    id = "d5ea33c8-a575-477a-b42f-2fe3be5055ec"
    description = "Splits a text into a list of texts."
    categories = frozenset({BlockCategory.TEXT})
    pure = True
    blocking = False

    class Input(BlockSchema):
        text: str = Field(description="The text.")
        delimiter: str = Field(min_length=1, description="What stands between the parts.")
        strip: bool = Field(default=True, description="Remove white space around each part.")

    class Output(BlockSchema):
        texts: list[str] = Field(description="The parts; none of an empty text.")

    test_input = [
        {"text": "Hello, World!", "delimiter": ","},
        {"text": "Hello, World!", "delimiter": ",", "strip": False},
        {"text": "", "delimiter": ","},
    ]
    test_output = [("texts", ["Hello", "World!"]), ("texts", ["Hello", " World!"]), ("texts", [])]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        parts = input_data.text.split(input_data.delimiter) if input_data.text else []
        yield "texts", [part.strip() for part in parts] if input_data.strip else parts
