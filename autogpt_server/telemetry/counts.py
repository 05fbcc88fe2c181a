"""Counts what a process does, in a file of its own that others read and that outlives it.

A file belongs to the process that holds its lock.  When that ends, however it ends, the next process of its kind goes
on counting in it: so nothing that was counted is lost or goes backwards, and there are never more files than there
were processes at one time.  The format of the files is prometheus_client's.

Counting is for batches: a commit, a claim, a request.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import threading
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import mmap_dict

from autogpt_server.telemetry.measures import STARTS, Counter, Histogram

#: The library has no types for it.
_MmapedDict: Any = mmap_dict.MmapedDict

log = logging.getLogger(__name__)

#: Value, last part of a histogram's keys.
SUM = "sum"
#: Names of a process's own facts among its values.
_PID = "pid"
_BEAT = "beat"
#: What reading a damaged file may raise.
_DAMAGED = (RuntimeError, ValueError, struct.error)
#: Files of one kind of process that are tried before counting is given up.
_MOST_FILES = 1000

#: Name of the measure, values of its labels, and in a histogram the upper bound or ``SUM``.
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """What a file tells.  ``pid`` is None when its process has ended."""

    process: str
    pid: int | None
    values: dict[Key, float]
    #: When a value was last changed by the process that lives, by the monotonic clock of the machine.
    changed_at: dict[Key, float]
    #: When that process last gave a sign of life, if it gives any.
    beat_at: float | None = None


class Counts:
    """The file of this process."""

    def __init__(self, folder: Path, process: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._lock_fd, path = _take_file(folder, process)
        self._mutex = threading.Lock()
        self._file = _open(path)
        self._keys: dict[Key, str] = {}
        self._values: dict[Key, float] = {}
        for text, value, _ in list(_read_file(path)):
            key: Key = tuple(json.loads(text))
            self._keys[key], self._values[key] = text, value
            # Times of the process before, perhaps of another boot.
            self._file.write_value(text, value, 0.0)
        self._write((_PID,), float(os.getpid()))
        self.add(STARTS, 1, process)

    def add(self, counter: Counter, amount: float, *labels: str) -> None:
        """Let a counter grow."""
        with self._mutex:
            self._grow((counter.name, *labels), amount)

    def observe(self, histogram: Histogram, values: Iterable[float], *labels: str) -> None:
        """Note values, many at a time."""
        bounds = histogram.bounds
        values = [max(0.0, value) for value in values]
        tally = Tally(bisect_left(bounds, value) for value in values)
        name = histogram.name
        with self._mutex:
            for i, number in tally.items():
                self._grow((name, *labels, str(bounds[i]) if i < len(bounds) else "inf"), number)
            self._grow((name, *labels, SUM), sum(values))

    def beat(self) -> None:
        """Note that this process does its work now."""
        with self._mutex:
            self._write((_BEAT,), 1.0)

    def close(self) -> None:
        """Leave the file to the next process."""
        with self._mutex:
            self._file.close()
            os.close(self._lock_fd)

    def forget(self) -> None:
        """In a forked child: let go of the lock, which belongs to the parent."""
        os.close(self._lock_fd)

    def _grow(self, key: Key, amount: float) -> None:
        self._write(key, self._values.get(key, 0.0) + amount)

    def _write(self, key: Key, value: float) -> None:
        text = self._keys.get(key)
        if text is None:
            text = self._keys[key] = json.dumps(key)
        self._values[key] = value
        self._file.write_value(text, value, time.monotonic())


def read_counts(folder: Path) -> Iterator[ProcessCounts]:
    """Read the files of all processes that ever counted in a folder."""
    for path in sorted(folder.glob("*.db")):
        values: dict[Key, float] = {}
        changed_at: dict[Key, float] = {}
        try:
            for text, value, when in _read_file(path):
                key: Key = tuple(json.loads(text))
                values[key] = value
                if when:
                    changed_at[key] = when
        except (OSError, *_DAMAGED) as error:
            log.warning("%s cannot be read: %s", path, error)
            continue
        pid = int(values.pop((_PID,), 0))
        values.pop((_BEAT,), None)
        process = path.stem.rpartition("-")[0]
        yield ProcessCounts(
            process, pid if _is_held(path) and _exists(pid) else None, values, changed_at, changed_at.get((_BEAT,))
        )


def _take_file(folder: Path, process: str) -> tuple[int, Path]:
    for number in range(_MOST_FILES):
        path = folder / f"{process}-{number}.db"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
        else:
            return fd, path
    raise OSError(f"all files for counts of {process} are held")


def _open(path: Path) -> Any:
    try:
        if path.stat().st_size:
            for text, _, _ in _read_file(path):
                json.loads(text)
    except _DAMAGED as error:
        # A loss of power can leave half a file; counting must not keep a process from starting.
        log.warning("%s is damaged and begins anew: %s", path, error)
        os.truncate(path, 0)
    return _MmapedDict(str(path))


def _read_file(path: Path) -> Iterator[tuple[str, float, float]]:
    return ((text, value, when) for text, value, when, _ in _MmapedDict.read_all_values_from_file(str(path)))


def _is_held(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
