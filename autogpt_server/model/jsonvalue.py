"""JSON values as they are stored and sent: what is refused, and one pair of functions to write and read them.

A value that a block yields goes downstream exactly as it reads back from the database, so anything that
JSON or either database would change silently (NaN, NUL, lone surrogates, huge nesting) is refused by name.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pydantic_core

#: Levels of lists and objects inside one value; deeper ones are refused.
MAX_DEPTH = 100


class JsonValueError(ValueError):
    """A value that cannot be stored, with the place inside it, like ``[3].name``."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place, self.reason = place, reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


def plain(value: Any) -> Any:
    """Return the value as it would read back from JSON: tuples as lists, models and dates as text and objects.

    Raises:
        JsonValueError: The value has no JSON form that survives storage.
    """
    if value is None or value is True or value is False:
        return value
    if type(value) is str:
        _check_text(value, "")
        return value
    if type(value) is int:
        return value
    return _plain(value, "", 0)


def _plain(value: Any, place: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise JsonValueError(place[:80] + "…", f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case str():
            _check_text(value, place)
            return str(value)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise JsonValueError(place, f"{value} is no JSON number")
            return value
        case dict():
            out: dict[str, Any] = {}
            for key, item in value.items():
                name = _plain_key(key, place)
                out[name] = _plain(item, f"{place}.{name}" if place else name, depth + 1)
            return out
        case list() | tuple():
            return [_plain(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)]
        case _:
            try:
                converted = pydantic_core.to_jsonable_python(value, inf_nan_mode="constants")
            except Exception as error:
                raise JsonValueError(place, f"a {type(value).__name__} has no JSON form") from error
            return _plain(converted, place, depth + 1)


def _plain_key(key: Any, place: str) -> str:
    match key:
        case str():
            _check_text(key, place)
            return key
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[key]
        case int() | float():
            return str(key)
        case _:
            raise JsonValueError(place, f"a {type(key).__name__} cannot be a key of a JSON object")


def _check_text(text: str, place: str) -> None:
    if text.isascii():
        if "\0" in text:
            raise JsonValueError(place, "holds a NUL character, which PostgreSQL cannot store; remove it")
        return
    if "\0" in text:
        raise JsonValueError(place, "holds a NUL character, which PostgreSQL cannot store; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise JsonValueError(place, f"holds a lone surrogate at character {error.start}; it is no Unicode text") from error


def storable_text(text: str) -> str:
    """Make any text storable: NUL and lone surrogates become U+FFFD.  For messages, never for data."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if not text.isprintable() else text


def dumps(value: Any) -> str:
    """Write a plain value as compact JSON text.  Integers of any size keep all their digits."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # beyond 64 bits
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Read JSON text.  Integers of any size keep all their digits.

    Raises:
        ValueError: Not JSON, nested too deeply for the reader, NaN or Infinity, or not Unicode.
    """
    return pydantic_core.from_json(text, allow_inf_nan=False)
