"""The wall clock, behind one door: nothing else asks what time it is, so that a test can move it.

What must not jump with it (time limits, leases, pauses between tries) is measured with ``time.monotonic``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def now_ms() -> int:
    """Return the current time in whole milliseconds since 1970."""
    return int(time.time() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """Turn milliseconds since 1970 into an aware time in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def to_ms(moment: datetime) -> int:
    """Turn an aware time into whole milliseconds since 1970, the rest cut off."""
    return (moment - _EPOCH) // _MILLISECOND
