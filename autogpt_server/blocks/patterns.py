"""Regular expressions, with bounds: Python's own would block the whole process for as long as a bad one takes."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic import Field

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema
from autogpt_server.model.jsonvalue import dumps

#: Seconds that one search may take, of processor time.
_MAX_SECONDS = 1.0
#: Characters of a pattern.
_MAX_PATTERN = 10_000
#: Copies of a part of the pattern that its counted repeats may ask for.  Each takes some 270 bytes.
_MAX_COPIES = 100_000


class MatchTextPatternBlock(Block):
    id = "3060088f-6ed9-4928-9ba7-9c92823a7ccd"
    aliases = ("TextMatcherBlock",)
    description = "Looks for a regular expression in a text and sends data one way or the other."
    categories = frozenset({BlockCategory.TEXT, BlockCategory.LOGIC})
    pure = True

    class Input(BlockSchema):
        text: Any = Field(description="Where to look; anything but text is looked at as JSON.")
        match: str = Field(description="The regular expression.")
        data: Any = Field(default=None, description="What goes out; the text by default.")
        case_sensitive: bool = Field(default=True, description="Tell capital letters from small ones.")
        dot_all: bool = Field(default=True, description="Let a dot match the end of a line too.")

    class Output(BlockSchema):
        positive: Any = Field(description="The data, when the text matches.")
        negative: Any = Field(description="The data, when it does not.")

    test_input = [
        {"text": "ABC", "match": "ab", "data": "X", "case_sensitive": False},
        {"text": "ABC", "match": "ab", "data": "Y"},
        {"text": "Hello World!", "match": ".orld.+"},
        {"text": {"a": [1, 2]}, "match": r"\[1,2\]", "data": 0},
    ]
    test_output = [("positive", "X"), ("negative", "Y"), ("positive", "Hello World!"), ("positive", 0)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        text = input_data.text if isinstance(input_data.text, str) else dumps(input_data.text)
        found = _search(input_data.match, text, ignore_case=not input_data.case_sensitive, dot_all=input_data.dot_all)
        yield "positive" if found else "negative", input_data.text if input_data.data is None else input_data.data


def _search(pattern: str, text: str, *, ignore_case: bool, dot_all: bool) -> bool:
    # Loaded at first use: a process that never searches saves the time and the memory.
    import regex

    if len(pattern) > _MAX_PATTERN or _copies(pattern) > _MAX_COPIES:
        raise BlockError("the regular expression is too large; shorten it or its counted repeats")
    flags = regex.IGNORECASE * ignore_case | regex.DOTALL * dot_all
    try:
        # The library lets other threads run while it searches, and looks at the clock.
        return regex.compile(pattern, flags).search(text, timeout=_MAX_SECONDS) is not None
    except TimeoutError:
        raise BlockError(f"the regular expression takes longer than {_MAX_SECONDS:g} s on this text") from None
    except (regex.error, RecursionError) as error:
        raise BlockError(f"the regular expression is wrong: {error}") from None


def _copies(pattern: str) -> int:
    """Bound how many copies of its parts a pattern is compiled to: ``((a{50}){50}){50}`` makes 125,000."""
    counts = [int(count) for count in re.findall(r"\{\s*(\d{1,12})", pattern)]
    nested = ")" in pattern[: pattern.rfind("{") + 1]
    return math.prod(max(count, 1) for count in counts) if nested else sum(counts)
