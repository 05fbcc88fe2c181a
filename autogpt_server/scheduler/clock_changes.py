"""Where the clock of a zone jumps or is put back: which moments a wall time stands for, and when the change is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_SECOND = timedelta(seconds=1)
#: Two looks at a zone's offset; no zone changes its clock there and back between them.
_STRIDE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A change of the clock: at `moment` it shows `wall_after` where it would have shown `wall_before`."""

    moment: datetime
    wall_before: datetime
    wall_after: datetime

    @property
    def is_jump(self) -> bool:
        """Whether the clock jumps forward, so that some wall times do not occur; otherwise some occur twice."""
        return self.wall_after > self.wall_before


def moments_of(wall: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """Return the moments (UTC) at which a zone's clock shows a wall time: one, none in a jump, two where it repeats."""
    before = wall.replace(tzinfo=zone, fold=0).utcoffset() or timedelta()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset() or timedelta()
    if before == after:
        return ((wall - before).replace(tzinfo=UTC, fold=0),)
    if before < after:
        return ()
    return (wall - before).replace(tzinfo=UTC, fold=0), (wall - after).replace(tzinfo=UTC, fold=0)


def end_of_jump(wall: datetime, zone: tzinfo) -> datetime:
    """Return the moment right after the jump in which a wall time does not occur."""
    before = wall.replace(tzinfo=zone, fold=0).utcoffset() or timedelta()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset() or timedelta()
    utc = wall.replace(tzinfo=UTC, fold=0)
    return _find_change(utc - after, utc - before, zone).moment


def clock_changes(start: datetime, end: datetime, zone: tzinfo) -> Iterator[ClockChange]:
    """Iterate over the changes of a zone's clock after `start` and until `end`, both UTC."""
    while start < end:
        stop = min(start + _STRIDE, end)
        if _offset(start, zone) != _offset(stop, zone):
            yield _find_change(start, stop, zone)
        start = stop


def _find_change(low: datetime, high: datetime, zone: tzinfo) -> ClockChange:
    """Halve the time between two moments with different offsets until the first second of the new one is found."""
    before, after = _offset(low, zone), _offset(high, zone)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    wall = high.replace(tzinfo=None)
    return ClockChange(high, wall + before, wall + after)


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
