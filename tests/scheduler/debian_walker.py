"""Debian's cron, minute by minute: what the tests of `CronExpression` compare it with.

Written from crontab(5) and from what cron(8) says about changes of the clock, with nothing of the code under test. A
walker looks at the clock every minute of real time. It keeps in mind up to which wall time fixed expressions were
served: a jump leaves many wall minutes to serve at once, and while the clock repeats itself there are none. Expressions
whose minute or hour begins with ``*`` are looked at by what the clock shows, and by nothing else.
"""

from __future__ import annotations

import calendar
import random
from datetime import UTC, date, datetime, timedelta, tzinfo

MINUTE = timedelta(minutes=1)
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = (
    {},
    {},
    {},
    {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name},
    {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])},
)


class Rule:
    """One expression, as sets of numbers."""

    def __init__(self, text: str) -> None:
        texts = text.split()
        self.minutes, self.hours, self.days, self.months, weekdays = (
            _numbers(each, low, high, names) for each, (low, high), names in zip(texts, _LIMITS, _NAMES, strict=True)
        )
        self.weekdays = {number % 7 for number in weekdays}
        self.goes_by_the_clock = texts[0][0] == "*" or texts[1][0] == "*"
        self.both_days = texts[2][0] == "*" or texts[4][0] == "*"
        self._fits: dict[date, bool] = {}

    def fits(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        day = wall.date()
        if day not in self._fits:
            self._fits[day] = self._day_fits(day)
        return self._fits[day]

    def _day_fits(self, day: date) -> bool:
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fits = by_date and by_weekday if self.both_days else by_date or by_weekday
        return fits and day.month in self.months


def _numbers(text: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for item in text.upper().split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, stop = low, high
        else:
            start = names[first] if first in names else int(first)
            stop = (names[last] if last in names else int(last)) if dash else (high if step else start)
        found.update(range(start, stop + 1, int(step or 1)))
    return found


class Window:
    """Every minute of some days of one zone: when it is, and what the clock shows."""

    def __init__(self, zone: tzinfo, start: datetime, days: float) -> None:
        self.zone, self.start, self.end = zone, start, start + timedelta(days=days)
        self.minutes: list[tuple[datetime, datetime]] = []
        moment = start
        while moment < self.end:
            moment += MINUTE
            self.minutes.append((moment, moment.astimezone(zone).replace(tzinfo=None, fold=0)))

    def walk(self, rule: Rule) -> list[datetime]:
        """Return the moments after the start and up to the end at which Debian's cron runs the rule."""
        if rule.goes_by_the_clock:
            return [moment for moment, wall in self.minutes if rule.fits(wall)]
        runs: list[datetime] = []
        served = self.start.astimezone(self.zone).replace(tzinfo=None, fold=0)
        for moment, wall in self.minutes:
            due = False
            while served < wall:
                served += MINUTE
                due = due or rule.fits(served)
            if due:
                runs.append(moment)
        return runs


def make_window_around(zone: tzinfo, moment: datetime, hours: int) -> Window:
    return Window(zone, moment - timedelta(hours=hours), 2 * hours / 24)


def find_changes(zone: tzinfo, first_year: int, last_year: int) -> list[datetime]:
    """Return the minutes at which the offset of a zone has just changed: looked for twice a day, then every minute."""
    changes: list[datetime] = []
    moment, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year + 1, 1, 1, tzinfo=UTC)
    while moment < end:
        later = moment + timedelta(hours=12)
        if moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            minute = moment
            while minute.astimezone(zone).utcoffset() == moment.astimezone(zone).utcoffset():
                minute += MINUTE
            changes.append(minute)
        moment = later
    return changes


class Expressions:
    """Random expressions, most of which come in a window of days: around a wall time, or anywhere."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def make(self, near: datetime) -> str:
        pick = self.random.random
        minute = self._field(0, 59, near.minute, 0.25)
        hour = self._field(0, 23, near.hour, 0.3)
        if pick() < 0.5:
            return f"{minute} {hour} * * *"
        day = self._field(1, 31, near.day, 0.35)
        month = "*" if pick() < 0.6 else self._field(1, 12, near.month, 0.3)
        weekday = self._field(0, 7, near.isoweekday(), 0.4)
        return f"{minute} {hour} {day} {month} {weekday}"

    def _field(self, low: int, high: int, near: int, wild: float) -> str:
        if self.random.random() < wild:
            return self.random.choice(["*", "*", "*/2", f"*/{self.random.randint(2, high)}"])
        return ",".join(self._item(low, high, near) for _ in range(self.random.choice([1, 1, 1, 2, 3])))

    def _item(self, low: int, high: int, near: int) -> str:
        close = self.random.random() < 0.75
        value = min(max(near + self.random.randint(-2, 2), low), high) if close else self.random.randint(low, high)
        kind = self.random.random()
        if kind < 0.6:
            return str(value)
        if kind < 0.7:
            return f"{value}/{self.random.randint(1, high)}"
        last = self.random.randint(value, high)
        return f"{value}-{last}" + (f"/{self.random.randint(1, 7)}" if kind > 0.85 else "")
