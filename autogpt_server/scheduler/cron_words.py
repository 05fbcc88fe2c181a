"""A cron expression in words: made from the values that match, so that what reads alike also fires alike."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Sequence

from autogpt_server.scheduler.cron import CronExpression
from autogpt_server.scheduler.cron_fields import CronField

#: Times of a day that are listed one by one.
_LISTED_TIMES = 6
#: Values in equal steps that read better as "every 3rd from 1 to 28" than one by one.
_STEPPED_VALUES = 4
_WEEKDAYS = (*(f"{calendar.day_name[number - 1]}s" for number in range(7)),)


def describe(expression: CronExpression) -> str:
    """Say when an expression comes, like "at 09:00 on weekdays"."""
    times = _often(expression.minute, expression.hour)
    days = _days(expression)
    if times is None:
        times = _listed(expression.minute, expression.hour)
        # Alone, "at 09:00" does not say how often.
        days = days if days.startswith("on ") else " ".join(filter(None, ["every day", days]))
    return f"{times} {days}" if days else times


def _often(minute: CronField, hour: CronField) -> str | None:
    """Say at what distance an expression comes during a day; None when its few times are better listed."""
    minutes, hours = minute.values, hour.values
    if len(minutes) == 1 and (words := _hourly(minutes[0], hour)):
        return words
    if len(minutes) * len(hours) <= _LISTED_TIMES:
        return None
    step = 1 if minute.is_full else _step(minutes)
    if step is None or minutes[0] != 0 or len(minutes) * step != 60:
        words = f"at {_numbers('minute', minutes)}"
        return f"{words} of every hour" if hour.is_full else f"{words} of {_numbers('hour', hours)}"
    words = "every minute" if step == 1 else f"every {step} minutes"
    if hour.is_full:
        return words
    if hours[-1] - hours[0] + 1 == len(hours):
        return f"{words} from {_clock(hours[0], minutes[0])} to {_clock(hours[-1], minutes[-1])}"
    return f"{words} during {_numbers('hour', hours)}"


def _listed(minute: CronField, hour: CronField) -> str:
    return "at " + _joined([_clock(each, number) for each in hour.values for number in minute.values])


def _hourly(minute: int, hour: CronField) -> str | None:
    """Say how often an expression comes that comes once in each of some hours at equal distances."""
    hours = hour.values
    step = _step(hours)
    if not step:
        return None
    every = "every hour" if step == 1 else f"every {step} hours"
    if hour.is_full:
        return every if minute == 0 else f"{every} at minute {minute}"
    # From midnight round to midnight the distance is the same every day.
    if minute == hours[0] == 0 and hours[-1] + step == 24:
        return every
    return f"{every} from {_clock(hours[0], minute)} to {_clock(hours[-1], minute)}"


def _days(expression: CronExpression) -> str:
    day, month, weekday = expression.day, expression.month, expression.weekday
    # Where one field is enough, a full one lets every day through.
    either_fits_all = not expression.needs_both_days and (day.is_full or weekday.is_full)
    by_date = not day.is_full and not either_fits_all
    by_weekday = not weekday.is_full and not either_fits_all
    months = "" if month.is_full else _months(month.values)
    if not by_weekday:
        return _dates(day, month, months) if by_date else months
    names = _weekdays(weekday.values)
    if not by_date:
        words = f"on {names}"
    elif expression.needs_both_days:
        words = f"on {names} that fall on {_numbers('day', day.values)} of the month"
    else:
        words = f"on {_numbers('day', day.values)} of the month or on {names}"
    return f"{words}, {months}" if months and by_date else " ".join(filter(None, [words, months]))


def _dates(day: CronField, month: CronField, months: str) -> str:
    if len(day.values) == len(month.values) == 1:
        return f"on {day.values[0]} {calendar.month_name[month.values[0]]}"
    words = f"on {_numbers('day', day.values)} of the month"
    return f"{words}, {months}" if months else words


def _months(values: Sequence[int]) -> str:
    runs = _runs(values, lambda number: calendar.month_name[number])
    return f"{'from' if len(runs) == 1 and len(values) > 1 else 'in'} {_joined(runs)}"


def _weekdays(values: Sequence[int]) -> str:
    if values == (1, 2, 3, 4, 5):
        return "weekdays"
    if values == (0, 6):
        return "weekends"
    # A week begins with Monday, as in "Saturdays and Sundays".
    return _joined([_WEEKDAYS[number] for number in sorted(values, key=lambda number: number or 7)])


def _numbers(noun: str, values: Sequence[int]) -> str:
    """Say "minute 5", "minutes 5 to 10", "every 7th minute from 0 to 56" or "minutes 1, 5 and 20"."""
    step = _step(values)
    if step and step > 1:
        return f"every {_ordinal(step)} {noun} from {values[0]} to {values[-1]}"
    return f"{noun}{'s' * (len(values) > 1)} {_joined(_runs(values, str))}"


def _step(values: Sequence[int]) -> int | None:
    """Return the distance between values where it is the same between many."""
    distances = {later - earlier for earlier, later in zip(values, values[1:], strict=False)}
    return distances.pop() if len(values) >= _STEPPED_VALUES and len(distances) == 1 else None


def _runs(values: Sequence[int], name: Callable[[int], str]) -> list[str]:
    """Name values, three and more in a row as "1 to 3"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return [
        word
        for run in runs
        for word in ([f"{name(run[0])} to {name(run[-1])}"] if len(run) > 2 else [name(value) for value in run])
    ]


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _clock(hour: int, minute: int) -> str:
    return f"{hour:02}:{minute:02}"


def _ordinal(number: int) -> str:
    ending = "th" if 11 <= number % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
