"""What a running block prints and logs, kept with its node execution and bounded.

``kept_block_output`` routes standard output, standard error and log records by a context variable that names the
node now running.  Tasks carry it along, and so do the threads that blocks run in; where no block runs, all goes its
usual way.  Threads that a block starts by itself carry nothing along: what they print goes to the server's output.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TextIO, cast

from autogpt_server.executor.live_secrets import LIVE
from autogpt_server.model import clock
from autogpt_server.model.jsonvalue import dumps, storable_text
from autogpt_server.model.redaction import Redactor

#: Bytes held back for the line that says how much was left out.
_LAST_BYTES = 160
#: Characters after which a line is broken, and one without an end is kept as it is.
_MAX_LINE = 8_000
#: Loggers of this server: what they write is about a block, not by it.
_OWN_LOGGERS = "autogpt_server."
#: But below this name the library's blocks have theirs.
_BLOCK_LOGGERS = "autogpt_server.blocks."


class BlockLog:
    """The lines of one node execution, of all its tries.  Any thread may add to it.

    Args:
        max_bytes: JSON that is kept.  What comes after it is only counted.
        kept: What ``json`` gave to an earlier attempt, to go on after.
    """

    def __init__(self, max_bytes: int, kept: str | None = None) -> None:
        inner = kept[1:-1] if kept is not None else ""
        self._entries = [inner] if inner else []
        self._max_bytes = max_bytes
        self._room = max_bytes - _LAST_BYTES - len(inner.encode())
        self._unfinished: dict[str, str] = {}
        self._left_out = 0
        self._lock = threading.Lock()
        #: Strikes out what must not be kept.
        self.redactor = Redactor(())

    @property
    def is_full(self) -> bool:
        return self._room <= 0

    def add(self, level: str, text: str) -> None:
        """Add one entry."""
        with self._lock:
            self._add(level, text)

    def write(self, level: str, text: str) -> None:
        """Add a piece of printed text; every line becomes an entry once its end is there."""
        start = 0
        # Here as well as line by line: a line that is broken might be broken in a secret.
        text = self.redactor.text(text)
        with self._lock:
            # Line by line: the text may be as large as the memory, and is not copied.
            while start < len(text) and not self.is_full:
                end = text.find("\n", start, start + _MAX_LINE)
                piece = text[start : end if end >= 0 else start + _MAX_LINE]
                start += len(piece) + (end >= 0)
                line = self._unfinished.pop(level, "") + piece
                if end >= 0 or len(line) >= _MAX_LINE:
                    self._add(level, line)
                else:
                    self._unfinished[level] = line
            self._left_out += len(text) - start

    def json(self) -> str:
        """Write all entries so far as a JSON list of ``{at, level, text}``."""
        with self._lock:
            for level, line in self._unfinished.items():
                self._add(level, line)
            self._unfinished.clear()
            entries = list(self._entries)
            if self._left_out:
                entries.append(
                    _entry(
                        "warning",
                        f"{self._left_out:,} more characters were left out; the limit is {self._max_bytes:,} bytes",
                    )
                )
        return f"[{','.join(entries)}]"

    def _add(self, level: str, text: str) -> None:
        if self.is_full:
            self._left_out += len(text)
            return
        text = self.redactor.text(text)
        # A character takes a byte at least.
        kept = storable_text(text[: self._room])
        entry = _entry(level, kept)
        while (size := len(entry.encode()) + 1) > self._room and kept:
            kept = kept[: len(kept) * self._room // size]
            entry = _entry(level, kept)
        self._room -= size
        if self._room >= 0:
            self._entries.append(entry)
        if len(kept) < len(text):
            self._left_out += len(text) - len(kept)
            self._room = 0


def _entry(level: str, text: str) -> str:
    at = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return dumps({"at": at, "level": level, "text": text})


class LogOwner(Protocol):
    """Whoever has a log: the context of a node."""

    @property
    def block_log(self) -> BlockLog: ...


_owner: ContextVar[LogOwner | None] = ContextVar("log_owner", default=None)


def route_output_to(owner: LogOwner) -> None:
    """Keep from now on what this task or thread prints and logs with ``owner``."""
    _owner.set(owner)


@contextmanager
def kept_block_output() -> Generator[None]:
    """Route what blocks print and log to their nodes.  For one process; not to be nested."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    streams = sys.stdout, sys.stderr
    handler = _Handler()
    sys.stdout = cast(TextIO, _RoutedText(sys.stdout, "stdout"))
    sys.stderr = cast(TextIO, _RoutedText(sys.stderr, "stderr"))
    for other in handlers:
        other.addFilter(_is_within_bounds)
        other.addFilter(LIVE.strike_out)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for other in handlers:
            other.removeFilter(_is_within_bounds)
            other.removeFilter(LIVE.strike_out)
        sys.stdout, sys.stderr = streams


class _RoutedText:
    """Stands for a standard stream."""

    def __init__(self, stream: TextIO, level: str) -> None:
        self._stream, self._level = stream, level

    def write(self, text: str) -> int:
        owner = _owner.get()
        if owner is None:
            return self._stream.write(LIVE.redactor.text(text))
        owner.block_log.write(self._level, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _owner.get() is None:
            self._stream.flush()

    def close(self) -> None:
        """A block that closes it closes it for nobody else."""
        if _owner.get() is None:
            self._stream.close()

    @property
    def buffer(self) -> Any:
        return self._stream.buffer if _owner.get() is None and not LIVE.redactor else _RoutedBytes(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _RoutedBytes:
    """The bytes behind a standard stream, while a block runs."""

    def __init__(self, text: _RoutedText) -> None:
        self._text = text

    def write(self, data: bytes) -> int:
        return self._text.write(bytes(data).decode("utf-8", "replace"))

    def flush(self) -> None:
        pass


class _Handler(logging.Handler):
    """Adds what is logged while a block runs to the log of its node."""

    def emit(self, record: logging.LogRecord) -> None:
        owner = _owner.get()
        if owner is not None and _is_by_a_block(record.name):
            owner.block_log.add(record.levelname.lower(), self._text(record))

    def _text(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:
            # Arguments that do not fit the message, or cannot be written: the mistake is the block's, the line stays.
            return str(record.msg)


def _is_by_a_block(logger: str) -> bool:
    return not logger.startswith(_OWN_LOGGERS) or logger.startswith(_BLOCK_LOGGERS)


def _is_within_bounds(record: logging.LogRecord) -> bool:
    """Keep the server's own log, too, from being flooded by a block whose log is full."""
    owner = _owner.get()
    return owner is None or not _is_by_a_block(record.name) or not owner.block_log.is_full
