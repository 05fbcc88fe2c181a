"""How many processes the blocks of one executor have started, in a file that all of them map."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import psutil

_COUNT = struct.Struct("<Q")


class TooManyChildren(OSError):
    """A block may start no more processes now."""


class ChildCount:
    """Counts upwards with every process that is about to start, and is set right where it would exceed a limit.

    Forked processes count on in the same memory, so that one that forks without end meets the limit in all of them.
    """

    def __init__(self, path: Path) -> None:
        self._executor = os.getpid()
        with path.open("w+b") as file:
            file.truncate(_COUNT.size)
            self._map = mmap.mmap(file.fileno(), _COUNT.size)

    def claim(self, limit: int) -> None:
        """Count one more.

        Raises:
            TooManyChildren: So many are alive already.
        """
        (count,) = _COUNT.unpack_from(self._map)
        if count >= limit:
            count = count_children(self._executor)
        if count >= limit:
            message = f"more than {limit} processes at the same time, the limit of AUTOGPT_EXECUTOR_MAX_CHILDREN"
            raise TooManyChildren(message)
        _COUNT.pack_into(self._map, 0, count + 1)


def has_children(path: Path) -> bool:
    """Tell whether an executor has ever started a process, as cheaply as can be."""
    try:
        return any(path.read_bytes())
    except OSError:
        return False


def is_crowded(path: Path, pid: int, limit: int) -> bool:
    """Tell whether an executor's blocks have met the limit and so many processes still live.  Cheap before that."""
    try:
        (count,) = _COUNT.unpack(path.read_bytes())
    except (OSError, struct.error):
        return False
    return count >= limit and count_children(pid) >= limit


def count_children(pid: int) -> int:
    """Count the processes below one that live now."""
    try:
        return len(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return 0
