"""What runs now, in memory that outlives the process: after a death it names the suspects.

An executor process marks a node execution before its code runs and clears it after.  The marks stand in a
mapped file, so they are there however the process ended, and cost no system call.  Async blocks are marked
only while their code runs, not while they wait: whoever merely waited cannot have killed the process.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any

from autogpt_server.data.leases import Suspect

#: Bytes of one mark: a length, then the ids of a node execution and its node, and the name of its block.
_MARK_BYTES = 128
_MARK = struct.Struct(f"{_MARK_BYTES - 1}s")
#: Marks at the same time.  Threads are fewer; the loop needs one.
_MARKS = 256


class RunningNodes:
    """The marks of one executor process.  Each thread of it uses marks of its own."""

    def __init__(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(_MARK_BYTES * _MARKS)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _MARK_BYTES * _MARKS)
        # pop and append of a list are atomic, so threads need no lock of ours.
        self._free = list(range(_MARKS))

    def mark(self, node_execution_id: str, node_id: str, block_name: str) -> int | None:
        """Say that this node's code runs from now on.  Returns what ``clear`` takes."""
        try:
            slot = self._free.pop()
        except IndexError:
            return None
        name = f"{node_execution_id} {node_id} {block_name}".encode()
        length = min(len(name), _MARK_BYTES - 1)
        # Bytes beyond the length are cut off here and mean nothing.
        _MARK.pack_into(self._map, slot * _MARK_BYTES + 1, name)
        # The length comes last: a mark is either whole or absent.
        self._map[slot * _MARK_BYTES] = length
        return slot

    def clear(self, slot: int | None) -> None:
        if slot is not None:
            self._map[slot * _MARK_BYTES] = 0
            self._free.append(slot)


def read_marks(path: Path) -> list[Suspect]:
    """Read which node executions a process had marked when it ended; none when it never marked any."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    marks: list[Suspect] = []
    for start in range(0, len(data), _MARK_BYTES):
        length = data[start]
        # A block's name may have been cut within a character.
        words = data[start + 1 : start + 1 + length].decode("utf-8", "replace").split(" ", 2)
        if len(words) == 3:
            marks.append(Suspect(*words))
    return marks


class Marked:
    """Awaits something with the node marked only while code runs, not while it waits."""

    def __init__(self, running: RunningNodes, mark: tuple[str, str, str], awaitable: Any) -> None:
        self._running, self._mark, self._awaitable = running, mark, awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaitable.__await__()
        resume, value = steps.send, None
        while True:
            slot = self._running.mark(*self._mark)
            try:
                waiting_for = resume(value)
            except StopIteration as end:
                return end.value
            finally:
                self._running.clear(slot)
            try:
                resume, value = steps.send, (yield waiting_for)
            except BaseException as error:
                # Cancellation, above all: the block must see it where it waits.
                resume, value = steps.throw, error
