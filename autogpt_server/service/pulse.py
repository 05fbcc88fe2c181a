"""The pulse of a process: signs that it does its work, which its starter times and its health shows.

They come from the threads and loops that do the work: a thread of its own would go on while those stand still.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from autogpt_server.telemetry import counting

#: Seconds between two turns of a part: so many per limit, that several are missed before anybody acts; and the most.
_TURNS_PER_LIMIT, _LONGEST_PAUSE = 5, 2.0


class Pulse:
    """Gives a sign whenever all parts of the process have turned since the last one.

    Each sign is a promise of the next within so many seconds.  A starter that waits in vain may end the process.

    Args:
        promise: Takes the seconds to the starter.  Must not wait.
        limit: Seconds for which a process may stand still.
    """

    def __init__(self, promise: Callable[[float], None], limit: float) -> None:
        self._promise, self._limit = promise, limit
        #: Seconds after which a part shall turn again.
        self.pause = min(_LONGEST_PAUSE, limit / _TURNS_PER_LIMIT)
        self._lock = threading.Lock()
        self._parts: set[Part] = set()
        self._still: set[Part] = set()
        self._excused: set[Part] = set()
        self._is_given = False
        self._next_at = 0.0

    def part(self) -> Part:
        """Add a part, without whose turns there are no more signs."""
        part = Part(self._turn, self._excuse)
        with self._lock:
            self._parts.add(part)
            self._still.add(part)
        return part

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Add an event loop as a part, which turns as long as it runs; to be called on it."""
        part = self.part()

        def turn() -> None:
            part.turn()
            loop.call_later(self.pause, turn)

        turn()

    def begin(self) -> None:
        """Give signs from now on, the first at once; where there are no parts, none is given."""
        with self._lock:
            self._is_given = bool(self._parts)
            if self._is_given:
                self._promise(self._limit)
        if self._is_given:
            # Health must see, too, when nothing ever comes after this.
            counting.beat()

    def end(self, seconds: float) -> None:
        """Promise that the process ends within so many seconds, and give no more signs."""
        with self._lock:
            if self._is_given:
                self._is_given = False
                self._promise(seconds)

    def _turn(self, part: Part) -> None:
        now = time.monotonic()
        with self._lock:
            self._still.discard(part)
            if not self._is_given or now < self._next_at or self._still - self._excused:
                return
            self._still = set(self._parts)
            # Not the whole pause: a part that turns a little too early would have to turn twice.
            self._next_at = now + self.pause / 2
            self._promise(self._limit)
        counting.beat()

    def _excuse(self, part: Part, is_excused: bool) -> None:
        with self._lock:
            (self._excused.add if is_excused else self._excused.discard)(part)


class Part:
    """A thread or a loop that must turn, or else its process does not do its work."""

    def __init__(self, turn: Callable[[Part], None], excuse: Callable[[Part, bool], None]) -> None:
        self._turn, self._excuse = turn, excuse

    def turn(self) -> None:
        """Say that it does its work; at least every ``pause`` seconds of its pulse."""
        self._turn(self)

    @contextmanager
    def excused(self) -> Generator[None]:
        """Count as turning while it waits for something outside, the database say, which a new process would wait for
        as well.  The other parts still must turn."""
        self._excuse(self, True)
        try:
            yield
        finally:
            self._excuse(self, False)
            self._turn(self)
