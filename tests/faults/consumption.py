"""What a node of a graph must have consumed, told from what the nodes before it have recorded.

Part of the checker, and like it written from the rules: each output arrives once over each link; a run takes one value
of each link, but of a static one whatever arrived there; ``list_$_1`` and ``object_#_key`` mean a part of a value.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: (source, pin, sink, pin, static)
Link = tuple[str, str, str, str, bool]

_PART = re.compile(r"_([$#@])_")


@dataclass(frozen=True)
class Run:
    """One execution of a node: its inputs as it got them, its outputs as they left."""

    inputs: dict[str, Any]
    outputs: list[list[Any]] | None


def problems_of_node(
    name: str, defaults: Mapping[str, Any], runs: list[Run], links: list[Link], sources: Mapping[str, list[Run]],
    whole: bool,
) -> Iterator[str]:  # fmt: skip
    """Say what of a node's runs does not follow from its links.

    Args:
        name: Of the node.
        defaults: Its constant inputs.
        runs: Of the node.
        links: That lead to it; at least one.
        sources: The runs of the nodes before it.
        whole: Whether the execution is COMPLETED: everything that arrived must have been consumed.
    """
    arrived: dict[str, Counter[str]] = defaultdict(Counter)
    for source, source_pin, _, pin, _ in links:
        arrived[pin].update(key(value) for run in sources[source] for value in _sent(run, source_pin))
    static = {pin for _, _, _, pin, is_static in links if is_static}
    for pin, values in arrived.items():
        consumed = Counter(key(value) for run in runs for value in _received(run.inputs, pin, list(arrived), defaults))
        extra = (
            [each for each in consumed if each not in values] if pin in static else list((consumed - values).elements())
        )
        if extra:
            yield f"node {name} consumed {shown(extra)} more often than it arrived at {pin}"
    if not whole:
        return
    counts = {pin: values.total() for pin, values in arrived.items()}
    if 0 in counts.values():
        expected = range(1)
    elif moving := [count for pin, count in counts.items() if pin not in static]:
        expected = range(min(moving), min(moving) + 1)
    else:
        # Each value opens a run, but those that met one which still lacked theirs.
        expected = range(max(counts.values()), sum(counts.values()) - len(counts) + 2)
    if len(runs) not in expected:
        yield f"node {name} ran {len(runs)} times, values for {expected[0]} had arrived"


def _sent(run: Run, pin: str) -> Iterator[Any]:
    """What left over a link from a pin, or a part of it."""
    base, steps = _parse(pin)
    for name, value in run.outputs or []:
        if name == base:
            for step in steps:
                parts = dict(enumerate(value)) if isinstance(value, list) and isinstance(step, int) else value
                if not isinstance(parts, dict) or step not in parts:
                    break
                value = parts[step]
            else:
                yield value


def _received(inputs: Mapping[str, Any], pin: str, linked: list[str], defaults: Mapping[str, Any]) -> Iterator[Any]:
    """What a run got over the links to a pin, or to a part of it: elements follow the constant ones in their order."""
    base, steps = _parse(pin)
    if not steps:
        # Where parts of it are linked, too, it is no longer what came.
        if not any(_parse(other)[1] for other in linked if _parse(other)[0] == base):
            yield inputs.get(base)
    elif len(steps) == 1 and base not in linked:
        (step,) = steps
        if isinstance(step, int):
            places = sorted(each for other in linked if _parse(other)[0] == base for each in _parse(other)[1][:1])
            step = len(defaults.get(base) or []) + places.index(step)
        yield inputs[base][step]


def _parse(pin: str) -> tuple[str, list[int | str]]:
    base, *rest = _PART.split(pin)
    return base, [int(text) if kind == "$" else text for kind, text in zip(rest[::2], rest[1::2], strict=True)]


def key(value: Any) -> str:
    """A value as one can count it."""
    return json.dumps(value, sort_keys=True)


def shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
