"""The events of one execution, read once for all who follow it.

A feed keeps the latest events as they are sent.  Whoever follows takes from it at its own pace: nothing is kept per
reader but the revision that it has seen, and one that falls behind what is kept reads the rows by itself.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autogpt_server.data.executions import Changes
from autogpt_server.server.block_names import Names
from autogpt_server.server.shapes import Event, ExecutionShape, NodeExecutionShape, NodeOutputShape, OutputEvent

#: Events that a feed keeps, and their characters.
_MAX_EVENTS, _MAX_CHARACTERS = 4_000, 8_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is sent."""

    revision: int
    #: Whether it is the last one of its revision: who has seen it has seen all up to there.
    is_last: bool
    #: JSON.
    data: str


class Teller:
    """Turns changes into events, and remembers the state that it told last: one that differs in nothing is no event."""

    def __init__(self) -> None:
        self._told: str | None = None

    def tell(self, changes: Changes, after: int, names: Names) -> list[Entry]:
        """Give the events of what changed after a revision, in the order of the revisions."""
        events: list[Event | OutputEvent] = [
            OutputEvent(
                sequence=output.revision,
                output=NodeOutputShape(
                    number=output.number,
                    node_execution_id=output.node_execution_id,
                    node_id=output.node_id,
                    pin=output.pin,
                    value=output.value,
                ),
            )
            for output in changes.outputs
        ]
        events += [
            Event(sequence=node.revision, type="node_execution", execution=NodeExecutionShape.of(node, names))
            for node in changes.nodes
        ]
        # Stable: of one revision, what was streamed comes before the ends.
        events.sort(key=lambda event: event.sequence)
        shape = ExecutionShape.of(changes.execution)
        state = shape.model_dump_json(exclude={"revision"})
        if changes.is_whole and changes.revision > after and state != self._told:
            events.append(Event(sequence=changes.revision, type="graph_execution", execution=shape))
            self._told = state
        return list(_entries(events))


class Feed:
    """What has happened since some revision, for as long as somebody follows."""

    def __init__(self, after: int) -> None:
        #: What is kept comes after this revision.
        self.start = after
        #: All up to this one was read.
        self.revision = after
        #: Number of the last streamed output that was read.
        self.output_number = 0
        self.is_over = False
        self.readers = 0
        self.reading: asyncio.Task[None] | None = None
        #: Set by a nudge: there is something to read.
        self.nudged = asyncio.Event()
        self._entries: list[Entry] = []
        self._characters = 0
        self._news = asyncio.Event()

    def add(self, entries: Iterable[Entry], changes: Changes) -> None:
        """Keep further events, and wake whoever waits for them."""
        for entry in entries:
            self._entries.append(entry)
            self._characters += len(entry.data)
        self.revision = max(self.revision, changes.revision)
        self.output_number = max((output.number for output in changes.outputs), default=self.output_number)
        self.is_over = changes.is_whole and changes.execution.status.is_final
        self._forget()
        self.wake()

    def after(self, revision: int) -> list[Entry]:
        """Give what is kept after a revision that is not before ``start``."""
        return self._entries[bisect_right(self._entries, revision, key=lambda entry: entry.revision) :]

    def wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self) -> None:
        """Wait for further events, or the end."""
        await self._news.wait()

    def _forget(self) -> None:
        """Drop the oldest half when there is too much, by whole revisions."""
        if len(self._entries) <= _MAX_EVENTS and self._characters <= _MAX_CHARACTERS:
            return
        middle = self._entries[len(self._entries) // 2].revision
        kept = self.after(middle)
        self.start = middle
        self._entries = kept
        self._characters = sum(len(entry.data) for entry in kept)


def _entries(events: list[Event | OutputEvent]) -> Iterator[Entry]:
    for i, event in enumerate(events):
        is_last = i + 1 == len(events) or events[i + 1].sequence != event.sequence
        yield Entry(event.sequence, is_last, event.model_dump_json())
