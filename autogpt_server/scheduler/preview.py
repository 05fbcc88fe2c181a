"""What a cron expression will do: its words, its next times, and what may come as a surprise."""

from __future__ import annotations

import calendar
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from autogpt_server.scheduler.clock_changes import ClockChange, clock_changes
from autogpt_server.scheduler.cron import CronExpression
from autogpt_server.scheduler.cron_words import describe

#: Runs that are shown at most.  One of a leap day that is a Sunday takes milliseconds to find.
MAX_RUNS = 100
#: Warnings about changes of the clock that are given at most; one after the other says the same.
_MAX_CHANGES = 4
#: Times that a warning names one by one.
_NAMED_TIMES = 4
#: How far ahead changes of the clock are looked for: a rare expression would meet dozens.
_HORIZON = timedelta(days=2 * 366)
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Run:
    """A time at which an expression comes, by the world's clock and by that of its zone."""

    utc: datetime
    local: datetime


@dataclass(frozen=True, slots=True)
class Preview:
    """What to show before a schedule is stored."""

    description: str
    runs: tuple[Run, ...]
    warnings: tuple[str, ...]


def preview(expression: CronExpression, zone: ZoneInfo, after: datetime, count: int = 10) -> Preview:
    """Show the next runs of an expression, at most `MAX_RUNS`.

    Warnings tell which of these runs a change of the clock bends, and about days and steps that come more rarely than
    they seem to.
    """
    times = itertools.islice(expression.fire_times(after, zone), min(count, MAX_RUNS))
    runs = tuple(Run(at, at.astimezone(zone)) for at in times)
    warnings = [*_rare_days(expression), *_wide_steps(expression)]
    if runs:
        bends = _clock_warnings(expression, zone, after.astimezone(UTC), runs[-1].utc)
        warnings += itertools.islice(bends, _MAX_CHANGES)
    return Preview(describe(expression), runs, tuple(warnings))


def _rare_days(expression: CronExpression) -> Iterator[str]:
    """Tell which months go without a run, as their days end before the first that is named."""
    if expression.day.is_full or not expression.needs_both_days:
        return
    first = expression.day.values[0]
    short = [month for month in expression.month.values if calendar.monthrange(2000, month)[1] < first]
    if short:
        names = ", ".join(calendar.month_name[month] for month in short)
        yield f"day {first} does not occur in {names}: there is no run"
    elif first == 29 and 2 in expression.month.values:
        yield "29 February occurs in leap years only: there is no run in February of other years"


def _wide_steps(expression: CronExpression) -> Iterator[str]:
    for each in (expression.minute, expression.hour, expression.day, expression.month, expression.weekday):
        if each.wide_step is not None:
            yield (
                f"the step {each.wide_step} in '{each.text}' leads beyond the last {each.kind.name} at once: "
                "a step starts anew with each round of its field"
            )


def _clock_warnings(expression: CronExpression, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[str]:
    for change in clock_changes(start, min(end + _DAY, start + _HORIZON), zone):
        first, stop = sorted((change.wall_before, change.wall_after))
        walls = expression.walls_after(first - _MINUTE)
        bent = list(itertools.takewhile(lambda wall, stop=stop: wall < stop, walls))
        if not bent or _is_even(expression, change):
            continue
        # What repeats comes before the change, too.
        if change.moment - (timedelta() if change.is_jump else change.wall_before - bent[0]) <= end:
            yield _warn(expression, change, bent)


def _is_even(expression: CronExpression, change: ClockChange) -> bool:
    """Whether runs keep their distance over a change, as those of each hour do whatever the hour is called."""
    if not (expression.is_elapsed and expression.hour.is_full):
        return False
    shift = (change.wall_after - change.wall_before) // _MINUTE
    minutes = expression.minute.values
    return {(minute + shift) % 60 for minute in minutes} == set(minutes)


def _warn(expression: CronExpression, change: ClockChange, bent: list[datetime]) -> str:
    """Say what a change of the clock does to the runs at the wall times that it leaves out or repeats."""
    one, after = len(bent) == 1, _shown(change.wall_after, change)
    turn = "jumps" if change.is_jump else "goes back"
    clock = f"on {change.wall_before:%Y-%m-%d} the clock {turn} from {change.wall_before:%H:%M} to {after}, so"
    if change.is_jump and expression.is_elapsed:
        return f"{clock} {_named('run', bent, change)} {'does' if one else 'do'} not happen"
    if change.is_jump:
        return f"{clock} {_named('run', bent, change)} {'happens' if one else 'happen once,'} at {after}"
    if expression.is_elapsed:
        return f"{clock} {_named('run', bent, change)} {'happens' if one else 'happen'} twice"
    once = "occurs twice; it runs once, at the first" if one else "occur twice; each runs once, at its first"
    return f"{clock} {_named('time', bent, change)} {once}"


def _named(noun: str, walls: list[datetime], change: ClockChange) -> str:
    if len(walls) > _NAMED_TIMES:
        return f"the {len(walls)} {noun}s from {_shown(walls[0], change)} to {_shown(walls[-1], change)}"
    *others, last = (_shown(wall, change) for wall in walls)
    listed = f"{', '.join(others)} and {last}" if others else last
    return listed if noun == "time" else f"the {noun}{'s' if others else ''} at {listed}"


def _shown(wall: datetime, change: ClockChange) -> str:
    """Show a wall time, with its date where a change leads to another day."""
    return f"{wall:%H:%M}" if wall.date() == change.wall_before.date() else f"{wall:%Y-%m-%d %H:%M}"
