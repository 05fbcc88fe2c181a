"""The events of one execution, read once for all who follow it.

A feed keeps the latest events as they are sent.  Whoever follows takes from it at its own pace: nothing is kept per
reader but the revision that it has seen, and one that falls behind what is kept reads the rows by itself.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from autogpt_server.data.executions import Changes
from autogpt_server.server.block_names import Names
from autogpt_server.server.shapes import Event, ExecutionShape, NodeOutputShape, OutputEvent, node_event

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
        self._told: dict[str, Any] | None = None

    def tell(self, changes: Changes, after: int, names: Names) -> list[Entry]:
        """Give the events of what changed after a revision, in the order of the revisions."""
        told = [
            (
                output.revision,
                OutputEvent(sequence=output.revision, output=NodeOutputShape.of(output)).model_dump_json(),
            )
            for output in changes.outputs
        ]
        told += [(node.revision, node_event(node, names)) for node in changes.nodes]
        # Stable: of one revision, what was streamed comes before the ends.
        told.sort(key=lambda one: one[0])
        if changes.is_whole and changes.revision > after:
            shape = ExecutionShape.of(changes.execution)
            state = {name: value for name, value in shape.__dict__.items() if name != "revision"}
            if state != self._told:
                event = Event(sequence=changes.revision, type="graph_execution", execution=shape)
                told.append((changes.revision, event.model_dump_json()))
                self._told = state
        return list(_entries(told))


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
        #: Whose execution it is; known from the first look on.
        self.owner: str | None = None
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
        self.owner = changes.execution.user_id
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


def _entries(told: list[tuple[int, str]]) -> Iterator[Entry]:
    for i, (revision, data) in enumerate(told):
        is_last = i + 1 == len(told) or told[i + 1][0] != revision
        yield Entry(revision, is_last, data)
