"""A lock between processes, held by the kernel, which frees it when its holder dies."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakSet

from autogpt_server.errors import Unavailable

log = logging.getLogger(__name__)


class FileLock:
    """An exclusive lock on a file, which is made where it is missing and never removed.

    Waiters sleep in the kernel and are woken in turn, which polling cannot give.  One thread at a time may use
    an object.  A forked child starts without the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reset()
        _locks.add(self)

    @contextmanager
    def hold(self, seconds: float) -> Generator[None]:
        """Hold the lock for a ``with`` block.

        Args:
            seconds: How long to wait for it.

        Raises:
            Unavailable: Somebody else held it all that time, or its file cannot be opened.
        """
        self._acquire(seconds)
        try:
            yield
        finally:
            # Not by closing: a child forked in the meantime may have the same file open.
            fcntl.flock(self._open(), fcntl.LOCK_UN)

    def close(self) -> None:
        with self._changed:
            if self._fd is not None and not self._waiting:
                os.close(self._fd)
                self._fd = None

    def _reset(self) -> None:
        self._fd: int | None = None
        self._changed = threading.Condition()
        #: A thread waits in the kernel; whether somebody still wants what it waits for; whether it got it.
        self._waiting = self._wanted = self._granted = False

    def _open(self) -> int:
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise Unavailable(f"the lock file {self._path} cannot be opened: {error.strerror}") from error
        return self._fd

    def _acquire(self, seconds: float) -> None:
        with self._changed:
            if not self._waiting:
                try:
                    fcntl.flock(self._open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    # The kernel's wait has no time limit, so a thread waits in our place, and goes on waiting
                    # for our next try when we give up.
                    self._waiting = True
                    threading.Thread(target=self._wait, name="file-lock", daemon=True).start()
            self._wanted, self._granted = True, False
            try:
                if not self._changed.wait_for(lambda: self._granted, seconds):
                    raise Unavailable(f"another process has held {self._path} for {seconds:g} s")
            except BaseException:
                # An interrupt can come between the grant and our waking up.
                if self._granted:
                    fcntl.flock(self._open(), fcntl.LOCK_UN)
                raise
            finally:
                self._wanted = False

    def _wait(self) -> None:
        fd, locked = self._open(), False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            locked = True
        except OSError as error:
            log.warning("waiting for %s failed: %s", self._path, error)
        with self._changed:
            self._waiting = False
            if locked and self._wanted:
                self._granted = True
                self._changed.notify()
            elif locked:
                fcntl.flock(fd, fcntl.LOCK_UN)


_locks: WeakSet[FileLock] = WeakSet()


def _forget_in_child() -> None:
    """Close what a fork copied, or the lock would stay held after its holder's death until the child ends."""
    for lock in _locks:
        if lock._fd is not None:  # pyright: ignore[reportPrivateUsage]
            os.close(lock._fd)  # pyright: ignore[reportPrivateUsage]
        lock._reset()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_forget_in_child)
