"""How long to wait before a process that ended is started again.  Standard library only."""

from __future__ import annotations

#: Seconds before the first restart, and the most that doubling makes of it.
FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0
#: A process that lived so many times as long as the last delay was healthy, at the latest after so many seconds.
HEALTHY_TIMES, HEALTHY_SECONDS = 10.0, 60.0


class RestartDelay:
    """The delay of one place: it doubles with each short life, and begins anew after a healthy one."""

    def __init__(self) -> None:
        self._next = FIRST_DELAY

    def after(self, lived: float) -> float:
        """Give the seconds to wait after a life of so many seconds."""
        if lived >= min(HEALTHY_SECONDS, HEALTHY_TIMES * self._next):
            self._next = FIRST_DELAY
        delay = self._next
        self._next = min(2 * delay, LONGEST_DELAY)
        return delay
