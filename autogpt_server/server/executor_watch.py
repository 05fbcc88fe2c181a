"""Which executor processes live, judged by their beats and our own clock: a wall clock that jumps changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from autogpt_server.data.leases import Lease, Leases
from autogpt_server.errors import Unavailable

log = logging.getLogger(__name__)

#: Looks per lease time.
_LOOKS_PER_LEASE = 5


@dataclass(slots=True)
class _Seen:
    beat: int
    changed_at: float


class ExecutorWatch:
    """Remembers when each lease's beat last changed."""

    def __init__(self, leases: Leases, lease_seconds: float) -> None:
        self._leases, self._lease_seconds = leases, lease_seconds
        self._seen: dict[Lease, _Seen] = {}

    async def look(self) -> list[float]:
        """Read the leases now, and return the ages in seconds of the last beats of those that hold.

        A lease that is seen for the first time counts from now on.

        Raises:
            Unavailable: The database is away.
        """
        holders = await asyncio.to_thread(self._leases.holders)
        now = time.monotonic()
        for lease, holder in holders.items():
            seen = self._seen.get(lease)
            if seen is None or seen.beat != holder.beat:
                self._seen[lease] = _Seen(holder.beat, now)
        for lease in self._seen.keys() - holders.keys():
            del self._seen[lease]
        ages = (now - seen.changed_at for seen in self._seen.values())
        return [age for age in ages if age <= self._lease_seconds]

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Look again and again, so that whoever asks once learns of a death before."""
        closing = asyncio.Event()
        task = asyncio.create_task(self._watch(closing))
        try:
            yield
        finally:
            # Not cancelled: a look that is under way holds a connection, which it must give back first.
            closing.set()
            await task

    async def _watch(self, closing: asyncio.Event) -> None:
        while not closing.is_set():
            try:
                await self.look()
            except Unavailable as error:
                log.debug("cannot look at the executors: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._lease_seconds / _LOOKS_PER_LEASE):
                    await closing.wait()
