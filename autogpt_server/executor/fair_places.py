"""Places that are few, given to users in turns: a long line of one user holds up no other."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class FairPlaces:
    """So many places; whoever waits and holds the fewest is served next.  Used on one event loop.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._held: Counter[str] = Counter()
        #: Who waits.  Of users with equally many places, the one that was served longest ago stands first.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, user_id: str) -> None:
        """Wait for a place, in the order of one's own user's requests.  It is to be given back."""
        if self._free > 0:
            self._hold(user_id)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # It was given the place at the same moment.
                self.give_back(user_id)
            raise

    def give_back(self, user_id: str) -> None:
        """Free a place that the user holds."""
        self._held[user_id] -= 1
        if not self._held[user_id]:
            del self._held[user_id]
        self._free += 1
        self._serve()

    @asynccontextmanager
    async def place(self, user_id: str) -> AsyncGenerator[None]:
        """Hold a place for the length of a block."""
        await self.take(user_id)
        try:
            yield
        finally:
            self.give_back(user_id)

    def _hold(self, user_id: str) -> None:
        self._free -= 1
        self._held[user_id] += 1

    def _serve(self) -> None:
        while self._free > 0 and self._waiting:
            user_id = min(self._waiting, key=self._held.__getitem__)
            line = self._waiting.pop(user_id)
            turn = line.popleft()
            if line:
                self._waiting[user_id] = line
            # Else whoever waited has been cancelled.
            if not turn.done():
                self._hold(user_id)
                turn.set_result(None)
