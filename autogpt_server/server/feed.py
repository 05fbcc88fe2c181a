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

from autogpt_server.data.drafts import Draft
from autogpt_server.data.executions import Changes
from autogpt_server.model.execution import GraphExecution
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

    def tell(self, changes: Changes, after: int, nodes: list[tuple[int, str]]) -> list[Entry]:
        """Give the events of what changed after a revision, in the order of the revisions.

        Args:
            changes: What changed.
            after: The revision.
            nodes: The events of the nodes among it, as ``node_events`` gives them.
        """
        told = [
            (
                output.revision,
                OutputEvent(sequence=output.revision, output=NodeOutputShape.of(output)).model_dump_json(),
            )
            for output in changes.outputs
        ]
        told += nodes
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


def node_events(changes: Changes, names: Names) -> list[tuple[int, str]]:
    """Give the events of the nodes that changed, each with its revision."""
    return [(node.revision, node_event(node, names)) for node in changes.nodes]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a commit that is under way is about to change, ready to be told."""

    name: str
    #: The revision that it follows.
    after: int
    changes: Changes
    nodes: list[tuple[int, str]]


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
        #: The execution as it was read last, and the blocks of its nodes.
        self.execution: GraphExecution | None = None
        self.names: Names = {}
        self.readers = 0
        self.reading: asyncio.Task[None] | None = None
        #: Set by a nudge: there is something to read.
        self.nudged = asyncio.Event()
        self._draft: Draft | None = None
        self._prepared: Prepared | None = None
        self._durable: str | None = None
        self._entries: list[Entry] = []
        self._characters = 0
        self._news = asyncio.Event()

    def add(self, entries: Iterable[Entry], changes: Changes) -> None:
        """Keep further events, and wake whoever waits for them."""
        for entry in entries:
            self._entries.append(entry)
            self._characters += len(entry.data)
        self.execution = changes.execution
        self.revision = max(self.revision, changes.revision)
        self.output_number = max((output.number for output in changes.outputs), default=self.output_number)
        self.is_over = changes.is_whole and changes.execution.status.is_final
        self._forget()
        self.wake()
        self._prepare()

    @property
    def owner(self) -> str | None:
        """Whose execution it is; known from the first look on."""
        return None if self.execution is None else self.execution.user_id

    def hear_draft(self, draft: Draft) -> None:
        """Take in what a commit is about to change; the latest counts."""
        self._draft, self._prepared = draft, None
        self._prepare()

    def confirm(self, name: str) -> None:
        """Take in that the draft of this name is durable."""
        self._durable = name

    def take_durable(self) -> Prepared | None:
        """Give what became durable, where that is known and is exactly what follows what is kept; the rows need not
        be read then."""
        prepared = self._prepared
        if prepared is None or prepared.name != self._durable or prepared.after != self.revision:
            return None
        self._prepared = None
        return prepared

    def _prepare(self) -> None:
        """Make the events of a draft, as soon as the execution is known as it was before.

        Nothing of it is kept that could not be told: a draft for another revision is of no use, now or later.
        """
        draft, before = self._draft, self.execution
        if draft is None or before is None:
            return
        self._draft = None
        if before.revision == self.revision == draft.revision - 1:
            changes = draft.changes(before)
            self._prepared = Prepared(draft.name, self.revision, changes, node_events(changes, self.names))

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
