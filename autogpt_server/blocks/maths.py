"""Numbers: calculate with two of them, count the items of a collection."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema

#: Bits of a whole number that a calculation may give; some 3,000 digits.
_MAX_BITS = 10_000

Number = int | float


def _capitalised(value: Any) -> Any:
    """Older graphs say ADD where newer ones say Add."""
    return value.capitalize() if isinstance(value, str) else value


Operation = Annotated[
    Literal["Add", "Subtract", "Multiply", "Divide", "Power"],
    BeforeValidator(_capitalised),
]


class CalculatorBlock(Block):
    id = "b1ab9b19-67a6-406d-abf5-2dba76d00c79"
    aliases = ("MathsBlock",)
    description = "Calculates with two numbers.  Whole numbers stay whole wherever the result is."
    categories = frozenset({BlockCategory.LOGIC})
    pure = True
    blocking = False

    class Input(BlockSchema):
        operation: Operation = Field(description="What to do with them.")
        a: Number = Field(description="The first number.")
        b: Number = Field(description="The second number.")
        round_result: bool = Field(default=False, description="Round the result to a whole number.")

    class Output(BlockSchema):
        result: Number = Field(description="The result.")

    test_input = [
        {"operation": "Add", "a": 8, "b": 34},
        {"operation": "SUBTRACT", "a": "0.5", "b": 1},
        {"operation": "Multiply", "a": 6, "b": 7},
        {"operation": "Divide", "a": 7, "b": 2},
        {"operation": "Divide", "a": 8, "b": 2},
        {"operation": "Power", "a": 2, "b": 100},
        {"operation": "Divide", "a": 7, "b": 4, "round_result": True},
    ]
    test_output = [
        ("result", 42),
        ("result", -0.5),
        ("result", 42),
        ("result", 3.5),
        ("result", 4),
        ("result", 2**100),
        ("result", 2),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        a, b = input_data.a, input_data.b
        try:
            result = _CALCULATE[input_data.operation](a, b)
        except ZeroDivisionError:
            raise BlockError(f"{a} cannot be divided by zero") from None
        except OverflowError:
            raise _too_large() from None
        yield "result", round(_checked(result)) if input_data.round_result else _checked(result)


def _divide(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    return a / b


def _power(a: Number, b: Number) -> Any:
    # Looked at before: the power itself could take all time and memory there is.
    if isinstance(a, int) and isinstance(b, int) and abs(a) > 1 and b * a.bit_length() > 2 * _MAX_BITS:
        raise _too_large()
    return a**b


_CALCULATE: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": _divide,
    "Power": _power,
}


def _checked(result: Any) -> Number:
    match result:
        case complex():
            raise BlockError("a broken power of a negative number is no real number")
        case int() if result.bit_length() > _MAX_BITS:
            raise _too_large()
        case float() if math.isinf(result):
            raise _too_large()
        case float() if math.isnan(result):
            raise BlockError("the result is not a number")
        case _:
            return result


def _too_large() -> BlockError:
    return BlockError("the result is too large")


class CounterBlock(Block):
    id = "3c9c2f42-b0c3-435f-ba35-05f7a25c772a"
    aliases = ("CountItemsBlock",)
    description = "Counts the items of a list, the keys of an object or the characters of a text."
    categories = frozenset({BlockCategory.DATA})
    pure = True
    blocking = False

    class Input(BlockSchema):
        collection: list[Any] | dict[str, Any] | str = Field(description="What to count.")

    class Output(BlockSchema):
        count: int = Field(description="How many there are.")

    test_input = [{"collection": [1, 2, 3]}, {"collection": {"a": 1}}, {"collection": "häuser"}]
    test_output = [("count", 3), ("count", 1), ("count", 6)]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        yield "count", len(input_data.collection)
