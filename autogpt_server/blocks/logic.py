"""Decisions: compare two values and go one way or the other."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema

Operator = Literal["==", "!=", ">", "<", ">=", "<="]

#: Texts that look like a number.  Longer ones do not, so that none takes long to read.
_NUMBER = re.compile(r"\s{0,9}[+-]?([0-9]{1,300}\.?[0-9]{0,99}|\.[0-9]{1,99})([eE][+-]?[0-9]{1,3})?\s{0,9}")

_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


class ConditionBlock(Block):
    id = "715696a0-e1da-45c8-b209-c2fa9c3b0be6"
    description = "Compares two values.  Texts that both look like numbers compare as numbers."
    categories = frozenset({BlockCategory.LOGIC})
    pure = True
    blocking = False

    class Input(BlockSchema):
        value1: Any = Field(description="Left of the operator.")
        operator: Operator = Field(description="How to compare.")
        value2: Any = Field(description="Right of the operator.")
        yes_value: Any = Field(default=None, description="What goes out when it is true; `value1` by default.")
        no_value: Any = Field(default=None, description="What goes out when it is false; `value1` by default.")

    class Output(BlockSchema):
        result: bool = Field(description="Whether it is true.")
        yes_output: Any = Field(description="`yes_value`, when it is true.")
        no_output: Any = Field(description="`no_value`, when it is false.")

    test_input = [
        {"value1": 10, "operator": ">", "value2": "9.5", "yes_value": "more"},
        {"value1": "b", "operator": "<=", "value2": "a"},
        {"value1": [1], "operator": "==", "value2": [1]},
    ]
    test_output = [
        ("result", True),
        ("yes_output", "more"),
        ("result", False),
        ("no_output", "b"),
        ("result", True),
        ("yes_output", [1]),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        result = _compare(input_data.value1, input_data.operator, input_data.value2)
        chosen = input_data.yes_value if result else input_data.no_value
        yield "result", result
        yield "yes_output" if result else "no_output", input_data.value1 if chosen is None else chosen


def _compare(left: Any, sign: Operator, right: Any) -> bool:
    left_number, right_number = _number(left), _number(right)
    if left_number is not None and right_number is not None:
        left, right = left_number, right_number
    try:
        return _COMPARE[sign](left, right)
    except TypeError:
        names = f"{type(left).__name__} {sign} {type(right).__name__}"
        raise BlockError(f"cannot compare {names}; both must be numbers, both texts or both lists") from None


def _number(value: Any) -> int | float | None:
    """Return the value as a number where it is one or looks like one.  Whole numbers keep all their digits."""
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    try:
        return int(value)
    except ValueError:
        return float(value)
