"""The events of executions, read from their rows: every change by a commit has the execution's next revision.

A nudge says when to look; without one, feeds look by themselves now and then.
A client may come back to any server at any time: all that matters is the revision that it has seen.
States between two looks collapse into the latest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from autogpt_server.data.drafts import DRAFT_PREFIX, Draft
from autogpt_server.data.executions import Changes, Executions
from autogpt_server.errors import ExecutionNotFound, Unavailable
from autogpt_server.model import clock
from autogpt_server.server.block_names import BlockNames, Names
from autogpt_server.server.feed import Entry, Feed, Teller, node_events
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import EVENT_LAG

log = logging.getLogger(__name__)

#: Before every revision.
BEGINNING = -1
#: Threads that look for all streams; apart from those of other requests, which must not wait for streams.
_THREADS = 4
#: Seconds between two looks of a feed that is not nudged.
_LOOK_SECONDS = 0.5


class EventStreams:
    """Follows executions for clients.

    Args:
        executions: Where they are read.
        block_names: Names the blocks of their nodes.
        stopping: Ends all streams when set; clients come back.
    """

    def __init__(self, executions: Executions, block_names: BlockNames, stopping: asyncio.Event) -> None:
        self._executions, self._block_names, self._stopping = executions, block_names, stopping
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="events")
        self._feeds: dict[str, Feed] = {}
        self._listeners: list[Callable[[list[str]], None]] = []

    def wake(self, words: Iterable[str]) -> None:
        """Let the feeds of these executions look now; the name of a draft among the ids says that it is durable."""
        drafts: list[str] = []
        execution_ids: list[str] = []
        for word in words:
            (drafts if word.startswith(DRAFT_PREFIX) else execution_ids).append(word)
        for listen in self._listeners:
            listen(execution_ids)
        for execution_id in execution_ids:
            feed = self._feeds.get(execution_id)
            if feed is not None:
                if drafts:
                    feed.confirm(drafts[0])
                feed.nudged.set()

    def hear_draft(self, text: bytes) -> None:
        """Prepare what a commit is about to change, if somebody follows."""
        feed = self._feeds.get(Draft.execution_of(text))
        draft = None if feed is None else Draft.unpack(text)
        if feed is not None and draft is not None:
            feed.hear_draft(draft)

    @contextlib.contextmanager
    def hearing(self, listen: Callable[[list[str]], None]) -> Generator[None]:
        """Hear of which executions changed, as far as nudges tell."""
        self._listeners.append(listen)
        try:
            yield
        finally:
            self._listeners.remove(listen)

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    async def close(self) -> None:
        """End all feeds, and wait for looks that are under way: they hold connections."""
        tasks = [feed.reading for feed in self._feeds.values() if feed.reading is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def follow(self, user_id: str, execution_id: str, after: int) -> AsyncGenerator[Sequence[Entry]]:
        """Yield what changed after a revision, and goes on changing; ends after the event of the final status.

        It first yields as soon as it has read the execution, be it nothing: a follower that ends without having
        yielded has seen the end before.  A client that was cut off between two events of a revision gets all of that
        revision again, and misses none.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
            Unavailable: The database is away, in the beginning; later on that is waited out.
        """
        feed = self._join(execution_id, after)
        has_begun = False
        try:
            await self._check_owner(feed, user_id, execution_id)
            while not self._stopping.is_set():
                if after < feed.start:
                    changes, entries = await self._catch_up(execution_id, after)
                    after = changes.revision
                    is_over = changes.is_whole and changes.execution.status.is_final
                else:
                    entries = feed.after(after)
                    after = max(after, feed.revision)
                    is_over = feed.is_over
                if entries or not (has_begun or is_over):
                    has_begun = True
                    yield entries
                if is_over:
                    return
                if feed.start <= after and feed.revision <= after:
                    _check(feed)
                    await feed.wait()
            if not has_begun:
                yield ()
        finally:
            self._leave(execution_id, feed)

    async def _check_owner(self, feed: Feed, user_id: str, execution_id: str) -> None:
        """Wait for the first look of a feed.  It also tells whose execution that is, which spares everybody a look."""
        while feed.owner is None and not self._stopping.is_set():
            _check(feed)
            await feed.wait()
        if feed.owner not in (None, user_id):
            raise ExecutionNotFound(execution_id)

    def _join(self, execution_id: str, after: int) -> Feed:
        feed = self._feeds.get(execution_id)
        if feed is None:
            feed = self._feeds[execution_id] = Feed(after)
            feed.reading = asyncio.create_task(self._read(execution_id, feed))
        feed.readers += 1
        return feed

    def _leave(self, execution_id: str, feed: Feed) -> None:
        feed.readers -= 1
        if not feed.readers:
            del self._feeds[execution_id]
            if feed.reading is not None:
                feed.reading.cancel()

    async def _read(self, execution_id: str, feed: Feed) -> None:
        """Read for everybody, until the execution has ended or the server stops."""
        teller = Teller()
        has_waited = False
        try:
            while not (self._stopping.is_set() or feed.is_over):
                # Before the look: a change that comes during it leads to another.
                feed.nudged.clear()
                try:
                    changes, nodes = await self._news_of(execution_id, feed)
                except Unavailable as error:
                    if feed.owner is None:
                        raise
                    log.warning("cannot look for events, trying again: %s", error)
                    await self._pause(feed)
                    continue
                feed.add(teller.tell(changes, feed.revision, nodes), changes)
                if feed.is_over and has_waited and changes.execution.ended_at is not None:
                    lag = clock.now() - changes.execution.ended_at
                    counting.observe(EVENT_LAG, (lag.total_seconds(),))
                if changes.is_whole and not feed.is_over:
                    has_waited = True
                    await self._wait_for_news(execution_id, feed)
        finally:
            feed.wake()

    async def _catch_up(self, execution_id: str, after: int) -> tuple[Changes, list[Entry]]:
        """Look for one reader that is further behind than what its feed keeps."""
        while True:
            try:
                changes, names = await self._look(execution_id, after, 0)
                return changes, Teller().tell(changes, after, node_events(changes, names))
            except Unavailable as error:
                log.warning("cannot look for events, trying again: %s", error)
                await asyncio.sleep(_LOOK_SECONDS)

    async def _wait_for_news(self, execution_id: str, feed: Feed) -> None:
        """Wait for a nudge, or until a cheap look says that one was lost; also ends when the server stops."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            await self._pause(feed)
            if feed.nudged.is_set():
                return
            with contextlib.suppress(Unavailable):
                revision = await loop.run_in_executor(self._threads, self._executions.revision, execution_id)
                if revision > feed.revision:
                    return

    async def _news_of(self, execution_id: str, feed: Feed) -> tuple[Changes, list[tuple[int, str]]]:
        """Give what comes next in a feed, with the events of its nodes: as it was prepared, or from the rows."""
        prepared = feed.take_durable()
        if prepared is not None:
            return prepared.changes, prepared.nodes
        changes, feed.names = await self._look(execution_id, feed.revision, feed.output_number)
        return changes, node_events(changes, feed.names)

    async def _look(self, execution_id: str, after: int, after_output: int) -> tuple[Changes, Names]:
        loop = asyncio.get_running_loop()
        changes = await loop.run_in_executor(self._threads, self._executions.changes, execution_id, after, after_output)
        return changes, await self._block_names.of(changes.execution.graph_id, changes.execution.graph_version)

    @staticmethod
    async def _pause(feed: Feed) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await feed.nudged.wait()


def _check(feed: Feed) -> None:
    """Raise what ended the reading of a feed, if something did: nothing would ever come."""
    if feed.reading is not None and feed.reading.done() and not feed.reading.cancelled() and not feed.is_over:
        feed.reading.result()
