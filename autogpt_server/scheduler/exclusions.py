"""Days on which a schedule does not fire: which slots they take out, and whether they leave any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from autogpt_server.model.schedule import ExcludedDates, Schedule
from autogpt_server.scheduler.timetable import Timetable
from autogpt_server.scheduler.zones import parse_zone

_DAY, _INSTANT = timedelta(days=1), timedelta(milliseconds=1)


def exclusion_of(schedule: Schedule) -> Callable[[datetime], str | None]:
    """Make a function that tells why a slot's day is excluded; None where it is not."""
    if not schedule.excluded_dates:
        return lambda slot: None
    zone = parse_zone(schedule.timezone)

    def why(slot: datetime) -> str | None:
        day = slot.astimezone(zone).date()
        one = _range_of(schedule, day)
        if one is None:
            return None
        return f"{day} is excluded" + (f": {one.reason}" if one.reason else "")

    return why


def first_not_excluded(schedule: Schedule, timetable: Timetable, slot: datetime | None) -> datetime | None:
    """Return the first slot from one on whose day is not excluded; None where all that come are.

    Takes a step for each range of excluded days at most, however many slots it holds.
    """
    zone = parse_zone(schedule.timezone)
    while slot is not None and (one := _range_of(schedule, slot.astimezone(zone).date())) is not None:
        if one.last == date.max:
            return None
        after = datetime.combine(one.last + _DAY, time.min, zone).astimezone(UTC)
        # Never backwards, however the clock of the zone is changed at that midnight.
        slot = timetable.next_after(max(after - _INSTANT, slot))
    return slot


def _range_of(schedule: Schedule, day: date) -> ExcludedDates | None:
    return next((one for one in schedule.excluded_dates if one.first <= day <= one.last), None)
