"""When a schedule is due: by cron, at one moment, every so many seconds, or as a trigger from elsewhere says.

Pure.  Times are aware UTC; slots are in whole milliseconds, as they are stored.
"""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger

from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.cron import CronExpression, parse_cron
from autogpt_server.scheduler.zones import parse_zone

_INSTANT = timedelta(milliseconds=1)
#: Slots that are kept in one look back.
_FIRST_WINDOW = timedelta(minutes=1)


class Timetable(Protocol):
    """The slots of a schedule, without end."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first slot after a moment; None where none comes any more."""
        ...


@dataclass(frozen=True, slots=True)
class Cron:
    expression: CronExpression
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        return self.expression.next_after(moment, self.zone)


@dataclass(frozen=True, slots=True)
class Once:
    at: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        return self.at if self.at > moment else None


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so often, counted from an anchor, which is a slot itself."""

    anchor: datetime
    every: timedelta

    def next_after(self, moment: datetime) -> datetime | None:
        if moment < self.anchor:
            return self.anchor
        return self.anchor + ((moment - self.anchor) // self.every + 1) * self.every


@dataclass(frozen=True, slots=True)
class Foreign:
    """As a trigger of APScheduler says that another deployment has stored."""

    trigger: BaseTrigger

    def next_after(self, moment: datetime) -> datetime | None:
        # Without a previous time: an IntervalTrigger would count from that, whatever its own anchor.
        next_after: Callable[[None, datetime], datetime | None] = cast(Any, self.trigger).get_next_fire_time
        found = next_after(None, moment + _INSTANT)
        if found is None:
            return None
        found = found.astimezone(UTC)
        # A DateTrigger knows one time, be it over or not.
        return found if found > moment else None


@dataclass(slots=True)
class Ahead:
    """A timetable that has worked one slot out before it is asked for."""

    inner: Timetable
    _moment: datetime | None = None
    _slot: datetime | None = None

    def look_after(self, moment: datetime) -> None:
        """Work out now what comes after a moment."""
        self._slot, self._moment = self.inner.next_after(moment), moment

    def next_after(self, moment: datetime) -> datetime | None:
        return self._slot if moment == self._moment else self.inner.next_after(moment)


@dataclass(frozen=True, slots=True)
class Bounded:
    """The part of a timetable between two moments, both included."""

    inner: Timetable
    starts_at: datetime | None
    ends_at: datetime | None

    def next_after(self, moment: datetime) -> datetime | None:
        if self.starts_at is not None:
            moment = max(moment, self.starts_at - _INSTANT)
        found = self.inner.next_after(moment)
        return None if found is None or (self.ends_at is not None and found > self.ends_at) else found


def timetable_of(schedule: Schedule, trigger: BaseTrigger | None = None) -> Timetable:
    """Make the timetable of a schedule.

    Args:
        schedule: Which was checked when it was stored.
        trigger: Of an adopted one.

    Raises:
        InvalidError: Its cron or zone are none, which only happens to what somebody wrote into the table.
    """
    inner: Timetable
    if trigger is not None:
        inner = Foreign(trigger)
    elif schedule.run_at is not None:
        inner = Once(schedule.run_at)
    elif schedule.interval_seconds is not None:
        every = timedelta(seconds=schedule.interval_seconds)
        inner = Interval(schedule.starts_at or schedule.created_at + every, every)
    else:
        inner = Cron(_expression(schedule.cron), parse_zone(schedule.timezone))
    if schedule.starts_at is None and schedule.ends_at is None:
        return inner
    return Bounded(inner, schedule.starts_at, schedule.ends_at)


@functools.lru_cache(maxsize=10_000)
def _expression(text: str) -> CronExpression:
    return parse_cron(text)


def slots_between(timetable: Timetable, first: datetime, last: datetime) -> Iterator[datetime]:
    """Iterate over the slots of a range, both ends included."""
    slot = timetable.next_after(first - _INSTANT)
    while slot is not None and slot <= last:
        yield slot
        slot = timetable.next_after(slot)


def latest_slots(timetable: Timetable, first: datetime, last: datetime, count: int) -> list[datetime]:
    """Return the latest slots of a range, at most so many, by time; costs about as many steps as it returns."""
    window = _FIRST_WINDOW
    while True:
        start = max(first, last - window)
        found = deque(slots_between(timetable, start, last), maxlen=count)
        if len(found) == count or start == first:
            return list(found)
        window *= 2


def next_due(schedule: Schedule, trigger: BaseTrigger | None, now: datetime) -> datetime | None:
    """Return the first slot of a schedule that fires after a moment; None where none does any more.

    Args:
        schedule: Whose.
        trigger: Of an adopted one.
        now: The moment.

    Raises:
        InvalidError: As ``timetable_of``.
    """
    timetable = timetable_of(schedule, trigger)
    slot = timetable.next_after(now - timedelta(seconds=schedule.jitter_seconds))
    while slot is not None and due_at(schedule, slot) <= now:
        slot = timetable.next_after(slot)
    return slot


def due_at(schedule: Schedule, slot: datetime) -> datetime:
    """Tell when a slot fires: at its time, or later by a part of the jitter, which is always the same for one slot."""
    if not schedule.jitter_seconds:
        return slot
    digest = hashlib.blake2b(f"{schedule.id} {slot.isoformat()}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest) / 2**64
    return slot + timedelta(milliseconds=int(share * schedule.jitter_seconds * 1000))
