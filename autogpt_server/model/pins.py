"""Dynamic pins: links and defaults that address a part of a pin's value.

``name_$_3`` is an element of the list on pin ``name``, ``name_#_key`` and ``name_@_key`` a value of the object on
it.  They nest: ``name_#_rows_$_0``.  A name that is malformed (``name_$_x``) is taken as the name of a plain pin,
so it ends as an unknown pin wherever pins are checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, cast

#: Parts that one name may address, one inside the other.
MAX_STEPS = 8

_DELIMITER = re.compile(r"_([$#@])_")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")

Steps = tuple[int | str, ...]
"""The way into a value: an int is a place in a list, a str a key of an object."""


class _Nothing(Enum):
    NOTHING = "nothing"


#: No value at all, which None is not: None travels.
NOTHING: Final = _Nothing.NOTHING
Nothing = Literal[_Nothing.NOTHING]


class Pin(NamedTuple):
    """A pin's name, taken apart; a plain pin has no steps."""

    base: str
    steps: Steps


class _DoesNotFit(Exception):
    """A part is addressed in a value that has no such parts."""


@lru_cache(maxsize=10_000)
def parse_pin(name: str) -> Pin:
    """Take a pin's name apart."""
    base, *parts = _DELIMITER.split(name)
    if not parts:
        return Pin(name, ())
    steps: list[int | str] = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        if kind == "$" and not _INDEX.fullmatch(text):
            return Pin(name, ())
        steps.append(int(text) if kind == "$" else text)
    if not base or "" in steps or len(steps) > MAX_STEPS:
        return Pin(name, ())
    return Pin(base, tuple(steps))


def base_name(name: str) -> str:
    """Return the pin of the block that a name belongs to."""
    return parse_pin(name).base


def select(value: Any, steps: Steps) -> Any | Nothing:
    """Return the addressed part of an output value, or NOTHING where it has none."""
    part = value
    for step in steps:
        if isinstance(step, int):
            if not isinstance(part, list) or step >= len(cast(list[Any], part)):
                return NOTHING
        elif not isinstance(part, dict) or step not in part:
            return NOTHING
        part = cast(Any, part)[step]
    return part


def merge_inputs(defaults: Mapping[str, Any], received: Mapping[str, Any]) -> dict[str, Any]:
    """Lay received values over defaults and fold dynamic pins into their plain ones.

    Elements are appended to the list of the plain pin in the order of their numbers, keys are set in its object;
    neither mapping nor a value in it is changed.  Where a plain value cannot hold the parts addressed in it, they
    stay in the result under their own names, which the block then refuses.
    """
    merged = {**defaults, **received}
    dynamic: dict[str, list[tuple[Steps, Any]]] = {}
    for name, value in merged.items():
        base, steps = parse_pin(name)
        if steps:
            dynamic.setdefault(base, []).append((steps, value))
    for base, parts in dynamic.items():
        try:
            merged[base] = _fold(merged.get(base), parts)
        except _DoesNotFit:
            continue
        for name in [name for name in merged if name != base and parse_pin(name).base == base]:
            del merged[name]
    return merged


def _fold(value: Any, parts: Sequence[tuple[Steps, Any]]) -> Any:
    """Put parts into a copy of a value.  Parts without steps replace the value itself."""
    groups: dict[int | str, list[tuple[Steps, Any]]] = {}
    for steps, part in parts:
        if steps:
            groups.setdefault(steps[0], []).append((steps[1:], part))
        else:
            value = part
    if not groups:
        return value
    numbers = sorted(step for step in groups if isinstance(step, int))
    if not numbers:
        if not isinstance(value, dict | None):
            raise _DoesNotFit
        members: dict[str, Any] = dict(cast(dict[str, Any], value or {}))
        for key, group in groups.items():
            members[str(key)] = _fold(members.get(str(key)), group)
        return members
    if len(numbers) < len(groups) or not isinstance(value, list | None):
        raise _DoesNotFit
    return [*cast(list[Any], value or []), *(_fold(None, groups[number]) for number in numbers)]
