"""Group commit: one thread writes everything that waits in one transaction.

It owns the order (first in, first out, so what is durable is always a prefix of what was put), the retries
while the database is away, and keeping one bad item from failing its neighbours.  What an item means and
which statements it takes belong to the ``write`` function that it is given.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.errors import ServerError, Unavailable

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items in one transaction at most: bounds how long the write lock is held.
MAX_BATCH = 500
#: Seconds between two tries while the database is away: the first, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class LeaseLost(Exception):
    """Another process took this executor's work over: nothing of the transaction was written, stop at once."""


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[Result]


class GroupCommitter(Generic[Item, Result]):
    """Writes items in the order in which they were put, many per transaction.

    ``write(connection, items)`` returns one result per item.  It must be safe to repeat: when the connection
    breaks during a commit, nobody knows whether the transaction is stored, and it is written again.

    Args:
        database: Where to write.
        write: Writes a batch on an open transaction.
        owner: Names whom an item belongs to.  Items of one owner in one batch are stored or fail together.
        patience: Seconds to keep trying while the database is away before the waiting items fail with
            ``Unavailable``; None keeps trying until ``close``.
        on_lease_lost: Called on the loop when ``write`` raised ``LeaseLost``; nothing is written after that.
        on_committed: Called by the writing thread with what became durable.  Must neither raise nor wait.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Connection, list[Item]], list[Result]],
        *,
        owner: Callable[[Item], str],
        patience: float | None,
        on_lease_lost: Callable[[], None] | None = None,
        on_committed: Callable[[list[Item]], None] | None = None,
    ) -> None:
        self._database, self._write, self._owner = database, write, owner
        self._patience, self._on_lease_lost, self._on_committed = patience, on_lease_lost, on_committed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="group-commit", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Queue an item; the future is done when it is durable, or cannot become so.  Call on the loop."""
        future: asyncio.Future[Result] = self._loop.create_future()
        with self._wake:
            if self._closing:
                future.set_exception(Unavailable("the server is stopping"))
                return future
            self._waiting.append(_Waiting(item, future))
            self._wake.notify()
        return future

    async def close(self, timeout: float = 10) -> None:
        """Write what waits, then end the thread.  What is not written within ``timeout`` seconds fails."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, timeout)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            try:
                self._commit(batch)
            except LeaseLost as error:
                self._fail(batch, error)
                self._give_up(error)
                return
            except Exception as error:
                # The thread must outlive any error: whoever waits for the batch hears of it.
                log.exception("a batch of %d items could not be written", len(batch))
                self._fail(batch, error)

    def _commit(self, batch: list[_Waiting[Item, Result]]) -> None:
        """Write a batch; when it fails as a whole, write it owner by owner so that only the bad one fails."""
        try:
            results = self._write_patiently([w.item for w in batch])
        except (LeaseLost, Unavailable):
            raise
        except Exception as error:
            owners = list(dict.fromkeys(self._owner(w.item) for w in batch))
            if len(owners) == 1:
                # What a client is told is no news to whoever watches the server.
                level = logging.DEBUG if isinstance(error, ServerError) else logging.WARNING
                log.log(level, "the rows of %s cannot be stored: %s", owners[0], error)
                self._fail(batch, error)
                return
            half = set(owners[: len(owners) // 2])
            self._commit([w for w in batch if self._owner(w.item) in half])
            self._commit([w for w in batch if self._owner(w.item) not in half])
            return
        self._call(lambda: [_resolve(w.future, r) for w, r in zip(batch, results, strict=True)])
        if self._on_committed is not None:
            self._on_committed([w.item for w in batch])

    def _write_patiently(self, items: list[Item]) -> list[Result]:
        pause, end = _FIRST_PAUSE, None if self._patience is None else time.monotonic() + self._patience
        while True:
            try:
                with self._database.write() as connection:
                    return self._write(connection, items)
            except Unavailable as error:
                if self._closing or (end is not None and time.monotonic() + pause > end):
                    raise
                log.warning("the database is away, trying again in %.2f s: %s", pause, error)
            with self._wake:
                self._wake.wait_for(lambda: self._closing, pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _give_up(self, error: LeaseLost) -> None:
        with self._wake:
            self._closing = True
            rest = list(self._waiting)
            self._waiting.clear()
        self._fail(rest, error)
        if self._on_lease_lost is not None:
            self._call(self._on_lease_lost)

    def _fail(self, batch: list[_Waiting[Item, Result]], error: Exception) -> None:
        self._call(lambda: [_refuse(w.future, error) for w in batch])

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop has ended, and with it everyone who could be waiting.
            log.debug("the loop ended before a batch was answered")


def _resolve(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        # Whoever no longer waits must not be reported as having forgotten an exception.
        future.exception()
