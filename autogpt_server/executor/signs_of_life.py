"""How an executor process shows that it lives: beats of its lease for everybody, a touched file for its own machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from autogpt_server.data.commit import LeaseLost
from autogpt_server.data.database import Database
from autogpt_server.data.leases import Lease, Leases
from autogpt_server.errors import Unavailable
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import BEATS

log = logging.getLogger(__name__)

#: Of each kind per lease time: an observer must miss several before it gives an executor up.
_SIGNS_PER_LEASE = 5


def marks_path(settings: Settings, pid: int) -> Path:
    """Where an executor process of this machine marks what it runs; touched as long as its loop turns."""
    return settings.run_dir / f"executor-{pid}.running"


class SignsOfLife:
    """Given on the event loop, so that a loop that hangs looks dead.

    Args:
        settings: Tell the time of a lease.
        database: For the beats.
        lease: Whose beat it is.
        in_thread: Calls in a thread that nothing else keeps busy.
        on_lease_lost: Called when somebody else has taken the work over; no beats follow.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        lease: Lease,
        in_thread: Callable[[Callable[[], None]], Awaitable[None]],
        on_lease_lost: Callable[[], None],
    ) -> None:
        self._settings, self._db, self._lease = settings, database, lease
        self._leases = Leases(database)
        self._in_thread, self._on_lease_lost = in_thread, on_lease_lost
        self._ended = asyncio.Event()
        self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._touch())]

    async def end(self) -> None:
        """Give no more; returns when none is under way: its thread would go on with a database that is then closed."""
        self._ended.set()
        await asyncio.gather(*self._tasks)

    async def _beat(self) -> None:
        """Bump the beat, for the times when nothing else is committed."""
        while not await self._ends_before_the_next():
            try:
                await self._in_thread(self._bump)
                counting.add(BEATS, 1)
            except LeaseLost:
                self._on_lease_lost()
                return
            except Unavailable as error:
                log.warning("cannot beat, trying again: %s", error)

    async def _touch(self) -> None:
        """Touch a file: for observers to tell a hanging process from a locked database."""
        marks = marks_path(self._settings, os.getpid())
        while not await self._ends_before_the_next():
            with contextlib.suppress(FileNotFoundError):
                os.utime(marks)

    async def _ends_before_the_next(self) -> bool:
        try:
            async with asyncio.timeout(self._settings.executor_lease_seconds / _SIGNS_PER_LEASE):
                return await self._ended.wait()
        except TimeoutError:
            return False

    def _bump(self) -> None:
        with self._db.write() as connection:
            self._leases.bump(connection, self._lease)
