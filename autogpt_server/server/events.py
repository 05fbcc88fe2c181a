"""The events of an execution, read from its rows: every change by a commit has the execution's next revision.

A nudge says when to look; without one, streams look by themselves now and then.
Nothing is kept per client but the revision that it has seen, so a client may come back to any server at any time.
States between two looks collapse into the latest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import ThreadPoolExecutor

from sse_starlette import ServerSentEvent

from autogpt_server.data.executions import Executions
from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from autogpt_server.model.execution import GraphExecution, NodeExecution
from autogpt_server.server.block_names import BlockNames
from autogpt_server.server.shapes import Event, ExecutionShape, NodeExecutionShape
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import EVENT_LAG

log = logging.getLogger(__name__)

#: Before every revision.
BEGINNING = -1
#: Threads that look for all streams; apart from those of other requests, which must not wait for streams.
_THREADS = 4
#: Seconds between two looks of a stream that is not nudged.
_LOOK_SECONDS = 0.5


class EventStreams:
    """Follows executions for clients.  Owners are checked by the caller.

    Args:
        executions: Where they are read.
        block_names: Names the blocks of their nodes.
        stopping: Ends all streams when set; clients come back.
    """

    def __init__(self, executions: Executions, block_names: BlockNames, stopping: asyncio.Event) -> None:
        self._executions, self._block_names, self._stopping = executions, block_names, stopping
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="events")
        self._followers: dict[str, set[asyncio.Event]] = {}

    def wake(self, execution_ids: Iterable[str]) -> None:
        """Let the streams of these executions look now."""
        for execution_id in execution_ids:
            for changed in self._followers.get(execution_id, ()):
                changed.set()

    async def close(self) -> None:
        """Wait for looks that are under way: they hold connections."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def follow(self, execution_id: str, after: int) -> AsyncGenerator[ServerSentEvent]:
        """Yield what changed after a revision, and goes on changing; ends after the event of the final status.

        Only the last event of a revision has an id: a client that was cut off between two of them gets all of that
        revision again, and misses none.
        """
        changed = asyncio.Event()
        followers = self._followers.setdefault(execution_id, set())
        followers.add(changed)
        try:
            async for event in self._follow(execution_id, after, changed):
                yield event
        finally:
            followers.discard(changed)
            if not followers:
                self._followers.pop(execution_id, None)

    async def _follow(self, execution_id: str, after: int, changed: asyncio.Event) -> AsyncGenerator[ServerSentEvent]:
        told: str | None = None
        has_waited = False
        while not self._stopping.is_set():
            # Before the look: a change that comes during it leads to another.
            changed.clear()
            try:
                execution, nodes = await self._look(execution_id, after)
            except Unavailable as error:
                log.warning("cannot look for events, trying again: %s", error)
                await self._pause(changed)
                continue
            # Of very many changes the oldest come first, without those that the execution's own state belongs to.
            revision = nodes[-1].revision if nodes else execution.revision
            is_whole = revision == execution.revision
            events = await self._node_events(execution, nodes)
            shape = ExecutionShape.of(execution)
            state = shape.model_dump_json(exclude={"revision"})
            if is_whole and revision > after and state != told:
                events.append(Event(sequence=revision, type="graph_execution", execution=shape))
                told = state
            for event in _encoded(events):
                yield event
            after = max(after, revision)
            if is_whole and execution.status.is_final:
                if has_waited and execution.ended_at is not None:
                    counting.observe(EVENT_LAG, ((clock.now() - execution.ended_at).total_seconds(),))
                return
            if is_whole:
                has_waited = True
                await self._wait_for_news(execution_id, after, changed)

    async def _wait_for_news(self, execution_id: str, after: int, changed: asyncio.Event) -> None:
        """Wait for a nudge, or until a cheap look says that one was lost; also ends when the server stops."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            await self._pause(changed)
            if changed.is_set():
                return
            with contextlib.suppress(Unavailable):
                if await loop.run_in_executor(self._threads, self._executions.revision, execution_id) > after:
                    return

    async def _look(self, execution_id: str, after: int) -> tuple[GraphExecution, list[NodeExecution]]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._executions.changes, execution_id, after)

    async def _node_events(self, execution: GraphExecution, nodes: Iterable[NodeExecution]) -> list[Event]:
        names = await self._block_names.of(execution.graph_id, execution.graph_version)
        return [
            Event(sequence=node.revision, type="node_execution", execution=NodeExecutionShape.of(node, names))
            for node in nodes
        ]

    @staticmethod
    async def _pause(changed: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await changed.wait()


def _encoded(events: list[Event]) -> Iterable[ServerSentEvent]:
    for i, event in enumerate(events):
        is_last = i + 1 == len(events) or events[i + 1].sequence != event.sequence
        yield ServerSentEvent(event.model_dump_json(), id=str(event.sequence) if is_last else None, sep="\n")
