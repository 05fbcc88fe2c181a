"""Unix cron expressions: what they say, and when they come next in a time zone."""

from __future__ import annotations

import calendar
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.suggestions import short
from autogpt_server.scheduler.clock_changes import end_of_jump, moments_of
from autogpt_server.scheduler.cron_fields import KINDS, CronField, parse_field

#: Characters of the longest expression that is read.
MAX_LENGTH = 10_000
_FIELDS = "minute, hour, day of month, month, day of week"
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: Days of each month in a leap year, by its number.
_DAYS = (0, *(calendar.monthrange(2000, month)[1] for month in range(1, 13)))


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A Unix cron expression as Debian's cron reads it.

    Made by `parse_cron`; equal when all fields were written alike.
    """

    text: str
    minute: CronField
    hour: CronField
    day: CronField
    month: CronField
    weekday: CronField
    _prototype: CronSim = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # cronsim gets plain numbers: by itself it reads `5-5/10` as `5/10`.  For days also where all of them fit,
        # since a star there would have a meaning: it refuses `0 0 31 2 *`, and must take `0 0 31 2 1-7`.
        times = ("*" if each.is_full else _listed(each) for each in (self.minute, self.hour))
        numbers = (*times, _listed(self.day), _listed(self.month), _listed(self.weekday))
        prototype = CronSim(" ".join(numbers), datetime(2000, 1, 1))  # noqa: DTZ001 - wall times, see walls_after
        prototype.day_and = self.needs_both_days
        object.__setattr__(self, "_prototype", prototype)

    def __str__(self) -> str:
        return self.text

    @property
    def needs_both_days(self) -> bool:
        """Whether a day must fit both fields for days; one of them is enough where neither begins with ``*``."""
        return self.day.is_starred or self.weekday.is_starred

    @property
    def is_elapsed(self) -> bool:
        """Whether the expression goes by elapsed time at changes of the clock: minute or hour begins with ``*``."""
        return self.minute.is_starred or self.hour.is_starred

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first moment (UTC) after another one at which the expression comes in a zone.

        At a change of the clock a fixed time that is skipped comes right after the jump, and one that repeats comes
        the first time only.  Where minute or hour begins with ``*``, the expression comes at every moment whose wall
        time fits.  Several times skipped by one jump come as one.

        Args:
            moment: Aware.

        Returns:
            None where the calendar ends, in the year 9999.
        """
        if moment.tzinfo is None:
            raise ValueError("moment must be aware: without a time zone it means another time on every machine")
        moment = moment.astimezone(UTC)
        try:
            return self._next_elapsed(moment, zone) if self.is_elapsed else self._next_fixed(moment, zone)
        except OverflowError:
            return None

    def fire_times(self, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Iterate over all moments (UTC) after `after` at which the expression comes in a zone."""
        moment = self.next_after(after, zone)
        while moment is not None:
            yield moment
            moment = self.next_after(moment, zone)

    def walls_after(self, wall: datetime) -> Iterator[datetime]:
        """Iterate over the fitting wall times (naive) after another one, on a clock that nobody ever changes."""
        # A copy, as reading the text again takes most of the time.  cronsim starts one second later.
        walk = CronSim.__new__(CronSim)
        walk.__dict__.update(self._prototype.__dict__)
        walk.dt = wall.replace(second=59, microsecond=0, fold=0)
        return walk

    def _next_fixed(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        for due in self.walls_after(wall):
            moments = moments_of(due, zone)
            first = moments[0] if moments else end_of_jump(due, zone)
            # Not after it: the first of two times, while the clock shows them the second time.
            if first > moment:
                return first
        return None

    def _next_elapsed(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        local = moment.astimezone(zone)
        wall = local.replace(tzinfo=None)
        comings = (at for due in self.walls_after(wall) for at in moments_of(due, zone) if at > moment)
        coming = next(comings, None)
        repeated = None if local.fold else self._first_repeated(wall, zone)
        return repeated if coming is None or (repeated is not None and repeated < coming) else coming

    def _first_repeated(self, wall: datetime, zone: ZoneInfo) -> datetime | None:
        """Return when the clock, put back after `wall`, first shows a fitting time that it has shown by now."""
        moments = moments_of(wall, zone)
        if len(moments) < 2:
            return None
        for due in self.walls_after(wall - (moments[1] - moments[0])):
            if due > wall:
                break
            if len(again := moments_of(due, zone)) == 2:
                return again[1]
        return None


def parse_cron(text: str, path: str = "cron") -> CronExpression:
    """Read a Unix cron expression: five fields, or a shorthand such as ``@daily``.

    Args:
        path: Where the expression stands in the input, for the message.

    Raises:
        InvalidError: With everything that is wrong with it.
    """
    found = _read(text)
    if isinstance(found, CronExpression):
        return found
    shown = short(text) if text.isprintable() else short(ascii(text)[1:-1])
    raise InvalidError(
        f"The cron expression '{shown}' is not valid.", [Problem(path, each.message, each.fix) for each in found]
    )


# The same expressions are read again and again, each time that a schedule fires.
@functools.lru_cache(maxsize=1024)
def _read(text: str) -> CronExpression | list[Problem]:
    problems = _find_problem(text)
    if problems is not None:
        return problems
    fields, problems = _parse_fields(_SHORTHANDS.get(text.strip().lower(), text).split())
    problems = problems or _find_impossible(*fields)
    return problems or CronExpression(" ".join(text.split()), *fields)


def _find_problem(text: str) -> list[Problem] | None:
    """Return what keeps a text from being read as five fields."""
    if len(text) > MAX_LENGTH:
        return [Problem("", f"the expression has {len(text)} characters", f"at most {MAX_LENGTH} are read")]
    odd = next((each for each in text if each != "\t" and not " " <= each <= "~"), None)
    if odd is not None:
        return [Problem("", f"the character {ascii(odd)} is no part of cron", "use digits, names, * , - / and spaces")]
    words = text.split()
    if not words:
        return [Problem("", "the expression is empty", f"write five fields ({_FIELDS}), like 0 9 * * 1-5")]
    if words[0].startswith("@"):
        return _find_shorthand_problem(words)
    if len(words) == 5:
        return None
    fix = f"write five: {_FIELDS}"
    if len(words) in (6, 7):
        fix += "; seconds and years are not supported"
    return [Problem("", f"the expression has {len(words)} field{'s' * (len(words) > 1)} instead of five", fix)]


def _find_shorthand_problem(words: list[str]) -> list[Problem] | None:
    name = words[0].lower()
    if name in _SHORTHANDS and len(words) == 1:
        return None
    if name in _SHORTHANDS:
        return [Problem("", f"{words[0]} stands alone", "leave out what follows it")]
    if name == "@reboot":
        return [
            Problem("", "@reboot has no time that could be waited for", "execute the graph when your machine starts")
        ]
    fix = f"there is {', '.join(_SHORTHANDS)}"
    if name == "@every":
        fix = "write */5 in the field for minutes for every five minutes"
    return [Problem("", f"{short(words[0])!r} is no shorthand", fix)]


def _parse_fields(parts: list[str]) -> tuple[list[CronField], list[Problem]]:
    fields: list[CronField] = []
    problems: list[Problem] = []
    for kind, part in zip(KINDS, parts, strict=True):
        try:
            fields.append(parse_field(kind, part))
        except InvalidError as error:
            problems.extend(error.problems)
    return fields, problems


def _find_impossible(
    minute: CronField, hour: CronField, day: CronField, month: CronField, weekday: CronField
) -> list[Problem]:
    """Return the problem that no day of the calendar fits."""
    either = not (day.is_starred or weekday.is_starred)
    longest = max(_DAYS[each] for each in month.values)
    if either or day.values[0] <= longest:
        return []
    names = " or ".join(calendar.month_name[each] for each in month.values)
    return [
        Problem(
            "",
            f"day of month: {day.values[0]} never comes, as {names} has at most {longest} days",
            f"name a day up to {longest}, or more months",
        )
    ]


def _listed(field: CronField) -> str:
    return ",".join(map(str, field.values))
