"""JSON values as they are stored and sent: what is refused, and one pair of functions to write and read them.

A value that a block yields goes downstream exactly as it reads back from the database, so anything that
JSON or either database would change silently (NaN, NUL, lone surrogates, huge nesting) is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, cast

import orjson
import pydantic_core

#: Levels of lists and objects inside one value; deeper ones are refused.
MAX_DEPTH = 100

#: Characters of a place that are told; keys may be megabytes long.
_MAX_PLACE = 200
#: Python and JSON readers stop at 4,300 decimal digits; these bits make at most 4,215.
_MAX_BITS = 14_000


class JsonValueError(ValueError):
    """A value that cannot be stored, with the place inside it, like ``[3].name``, and how to mend it."""

    def __init__(self, place: str, reason: str, fix: str) -> None:
        super().__init__(place, reason, fix)
        self.place, self.reason, self.fix = place, reason, fix

    def __str__(self) -> str:
        told = f"{self.reason}; {self.fix}"
        return f"{self.place}: {told}" if self.place else told

    def inside(self, step: str) -> JsonValueError:
        """Return the same error as seen from one level further out."""
        dot = "." if self.place and not self.place.startswith("[") else ""
        return JsonValueError(f"{step}{dot}{self.place}"[:_MAX_PLACE], self.reason, self.fix)


def plain(value: Any) -> Any:
    """Return the value as it would read back from JSON: tuples as lists, models and dates as text and objects.

    Raises:
        JsonValueError: The value has no JSON form that survives storage.
    """
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if depth > MAX_DEPTH:
        raise JsonValueError("", f"nested deeper than {MAX_DEPTH} levels", f"stay below {MAX_DEPTH} levels")
    match value:
        case str():
            return _plain_text(value)
        case int() | float():
            return _plain_number(value)
        case dict():
            return _plain_object(cast(dict[Any, Any], value), depth)
        case list() | tuple():
            return _plain_list(cast(Sequence[Any], value), depth)
        case _:
            return _plain(_converted(value), depth + 1)


def _plain_object(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = _plain_key(key)
        if name in out:
            raise JsonValueError("", f"has the key {name[:_MAX_PLACE]} twice", "rename one of them")
        try:
            out[name] = _plain(item, depth + 1)
        except JsonValueError as error:
            # The place is put together only now: beside a long key, doing so for every value would take minutes.
            raise error.inside(name[:_MAX_PLACE]) from None
    return out


def _plain_list(value: Sequence[Any], depth: int) -> list[Any]:
    out: list[Any] = []
    for item in value:
        try:
            out.append(_plain(item, depth + 1))
        except JsonValueError as error:
            raise error.inside(f"[{len(out)}]") from None
    return out


def _plain_key(key: Any) -> str:
    match key:
        case str():
            return _plain_text(key)
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[key]
        case int() | float():
            return str(_plain_number(key))
        case _:
            raise JsonValueError("", f"a {type(key).__name__} cannot be a key of a JSON object", "use texts as keys")


def _plain_text(text: str) -> str:
    if "\0" in text:
        raise JsonValueError("", "holds a NUL character, which PostgreSQL cannot store", "remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise JsonValueError(
                "", f"holds a lone surrogate at character {error.start}; it is no Unicode text", "remove it"
            ) from None
    return text if type(text) is str else str.__str__(text)


def _plain_number(value: int | float) -> int | float:
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            message = "is an integer of more than 4,200 digits, which JSON readers refuse"
            raise JsonValueError("", message, "give it as a text")
        return int(value)
    if not math.isfinite(value):
        raise JsonValueError("", f"{value} is no JSON number", "give null or a text instead")
    return float(value)


def _converted(value: Any) -> Any:
    try:
        return pydantic_core.to_jsonable_python(value, inf_nan_mode="constants")
    except (ValueError, RecursionError) as error:
        message = f"a {type(value).__name__} has no JSON form"
        raise JsonValueError("", message, "give texts, numbers, lists or objects") from error


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two plain values are the same JSON; 1, 1.0 and true are three different ones."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        left, right = cast(dict[str, Any], one), cast(dict[str, Any], other)
        return left.keys() == right.keys() and all(is_same(item, right[key]) for key, item in left.items())
    if isinstance(one, list):
        items, others = cast(list[Any], one), cast(list[Any], other)
        return len(items) == len(others) and all(map(is_same, items, others))
    return one == other


def storable_text(text: str) -> str:
    """Make any text storable: NUL and lone surrogates become U+FFFD.  For messages, never for data."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if not text.isprintable() else text


def dumps(value: Any) -> str:
    """Write a plain value as compact JSON text.  Integers of any size keep all their digits.

    It may hold what ``written`` has wrapped, and times in UTC, where it holds no integer beyond 64 bits.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
    except TypeError:  # beyond 64 bits
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def written(text: str) -> Any:
    """Wrap JSON text, so that ``dumps`` of a value that holds it writes it as it is."""
    return orjson.Fragment(text)


def loads(text: str | bytes) -> Any:
    """Read JSON text.  Integers of any size keep all their digits.

    Raises:
        ValueError: Not JSON, nested too deeply for the reader, NaN or Infinity, or not Unicode.
    """
    return pydantic_core.from_json(text, allow_inf_nan=False)
