"""The five fields of a Unix cron expression: what one may hold, and which values it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.suggestions import short

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

#: Longer numbers are no number of a field, and no step that a field could take.
_NUMBER = re.compile(r"[0-9]{1,4}")
#: What other schedulers add to cron, and what to write instead.
_FOREIGN: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r".*\?.*"),
        "'?' belongs to other schedulers than Unix cron",
        "write * for a field that does not matter",
    ),
    (
        re.compile(r".*#.*"),
        "'#' (the n-th weekday of a month) is no part of Unix cron",
        "name the days or the weekdays",
    ),
    (
        re.compile(r"(?:\d+|[A-Z]{3})?L(?:-\d+)?|LW|LAST", re.IGNORECASE),
        "'L' (the last day) is no part of Unix cron",
        "name a day that every month has, like 1 or 28",
    ),
    (
        re.compile(r"\d+W", re.IGNORECASE),
        "'W' (the nearest weekday) is no part of Unix cron",
        "name weekdays in the field for the day of week, like 1-5",
    ),
    (re.compile(r"H(?:\(.*\))?", re.IGNORECASE), "'H' (a hashed value) is no part of Unix cron", "name a value"),
)


@dataclass(frozen=True, slots=True)
class FieldKind:
    """Which values a field takes, by number and by name."""

    name: str
    low: int
    high: int
    range_in_words: str
    names: Mapping[str, int] = field(default_factory=dict[str, int])


MINUTE = FieldKind("minute", 0, 59, "minutes go from 0 to 59")
HOUR = FieldKind("hour", 0, 23, "hours go from 0 to 23; midnight is 0")
DAY = FieldKind("day of month", 1, 31, "days go from 1 to 31")
MONTH = FieldKind(
    "month", 1, 12, "months go from 1 to 12, or JAN to DEC", {name: number for number, name in enumerate(_MONTHS, 1)}
)
WEEKDAY = FieldKind(
    "day of week",
    0,
    7,
    "days of the week go from 0 (Sunday) to 6 (Saturday), or SUN to SAT; 7 is Sunday too",
    {name: number for number, name in enumerate(_WEEKDAYS)},
)
#: In the order in which an expression has them.
KINDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True, slots=True)
class CronField:
    """What one field of an expression says.

    Attributes:
        values: The numbers that match, sorted; Sunday is 0.
        is_starred: Whether the text begins with ``*``, as ``*/5`` does and ``0-59/5`` does not.  Debian's cron lets
            that first character decide how the two fields for days go together, and what a change of the clock does.
        wide_step: A step that leaves only the first value of its range, which is hardly what was meant.
    """

    kind: FieldKind
    text: str
    values: tuple[int, ...]
    is_starred: bool
    wide_step: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether every value matches."""
        return len(self.values) == (7 if self.kind is WEEKDAY else self.kind.high - self.kind.low + 1)


def parse_field(kind: FieldKind, text: str) -> CronField:
    """Read one field: items between commas, each of them ``*``, a value or a range, with or without a step.

    Raises:
        InvalidError: With one problem, which names the field.
    """
    values: set[int] = set()
    wide_step = None
    for item in text.split(","):
        found, step = _parse_item(kind, item, text)
        values.update(found)
        if step > 1 and len(found) == 1:
            wide_step = step
    if kind is WEEKDAY:
        values = {value % 7 for value in values}
    return CronField(kind, text, tuple(sorted(values)), text.startswith("*"), wide_step)


def _parse_item(kind: FieldKind, item: str, text: str) -> tuple[range, int]:
    if not item:
        raise _refused(
            kind, f"an item of the list '{short(text)}' is empty", "write values with one comma between them"
        )
    for pattern, message, fix in _FOREIGN:
        if pattern.fullmatch(item):
            raise _refused(kind, message, fix)
    span, slash, step_text = item.partition("/")
    step = _parse_step(kind, step_text, item) if slash else 1
    first, last = _parse_span(kind, span, item, is_stepped=bool(slash))
    if first > last:
        raise _refused(kind, f"the range '{short(item)}' runs backwards", _forwards(kind, first, last, step))
    return range(first, last + 1, step), step


def _parse_step(kind: FieldKind, text: str, item: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) == 0:
        raise _refused(
            kind,
            f"'{short(text)}' in '{short(item)}' is no step",
            "a step is a number from 1 on, like */2 for every second",
        )
    return int(text)


def _parse_span(kind: FieldKind, span: str, item: str, *, is_stepped: bool) -> tuple[int, int]:
    if span == "*":
        return kind.low, kind.high
    first_text, dash, last_text = span.partition("-")
    first = _parse_value(kind, first_text, item)
    if dash:
        return first, _parse_value(kind, last_text, item)
    # As in Debian's cron a single value with a step goes on to the end of the field.
    return first, kind.high if is_stepped else first


def _parse_value(kind: FieldKind, text: str, item: str) -> int:
    if text.upper() in kind.names:
        return kind.names[text.upper()]
    if not text:
        raise _refused(kind, f"a value is missing in '{short(item)}'", kind.range_in_words)
    if not (text.isascii() and text.isdigit()):
        raise _refused(kind, f"'{short(text)}' is no value", _meant(kind, text))
    if not _NUMBER.fullmatch(text) or not kind.low <= int(text) <= kind.high:
        raise _refused(kind, f"{short(text)} is out of range", kind.range_in_words)
    return int(text)


def _meant(kind: FieldKind, text: str) -> str:
    """Say what may have been meant by a word that is no value of this field."""
    name = text[:3].upper()
    if name in kind.names and text.isalpha():
        return f"write {name}"
    for other in KINDS:
        if name in other.names and text.isalpha():
            return f"{name} is for the field '{other.name}'; {kind.range_in_words}"
    return kind.range_in_words


def _forwards(kind: FieldKind, first: int, last: int, step: int) -> str:
    """Say how a range over the end of its field is written in Unix cron."""
    if kind is WEEKDAY and last == 0:
        return f"write {first}-7{'' if step == 1 else f'/{step}'}"
    if kind is WEEKDAY and first == 7:
        return f"write 0-{last}{'' if step == 1 else f'/{step}'}"
    if step == 1:
        parts = [(first, 6 if kind is WEEKDAY else kind.high), (kind.low, last)]
        return "write " + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
    size = 7 if kind is WEEKDAY else kind.high - kind.low + 1
    values = [(value - kind.low) % size + kind.low for value in range(first, last + size + 1, step)]
    return "write " + ",".join(map(str, values))


def _refused(kind: FieldKind, message: str, fix: str) -> InvalidError:
    return InvalidError("", [Problem("", f"{kind.name}: {message}", fix)])
