"""What a process knows of one that it started: whether it is ready, whether it lives, how it ended.

Standard library and multiprocess only: the supervisor imports it.
"""

from __future__ import annotations

import contextlib
import os
import pkgutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import multiprocess
from multiprocess import connection, util

from autogpt_server.errors import Unavailable

if sys.platform == "win32":
    # Nothing can be forked there: every process starts anew.
    _context = multiprocess.get_context("spawn")
else:
    from autogpt_server.service.fork_server import FORK_SERVER as _fork_server

    _context = multiprocess.get_context("forkserver")

#: Exit code of a process that will not start before somebody changes a setting (EX_CONFIG).
REFUSED = 78
#: Exit code of a process whose fork server died before it could tell.
UNKNOWN = 255
#: Seconds for what the kernel does by itself: a killed process is gone, an exit code has arrived.
_SOON = 5.0


class ProcessEnded(Unavailable):
    """A process ended before it was ready."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(name, exit_code)
        self.name, self.exit_code = name, exit_code

    def __str__(self) -> str:
        return f"{self.name} ended before it was ready ({describe_exit(self.exit_code)})."


class Child:
    """One started process.

    Two things tell about it.  A pipe whose other end it alone holds carries its readiness, and closes when it is
    really gone.  The sentinel comes from the fork server and carries the exit code; when it closes too early, the fork
    server has died and the process lives on.  To be used by one thread at a time.
    """

    def __init__(self, name: str, entry: str, *args: Any) -> None:
        """Start a process that calls a function.

        Args:
            name: For messages.
            entry: ``package.module:function``, looked up in the new process.  It is called with the connection on
                which it reports, and the arguments.

        Raises:
            Unavailable: No process or memory is left, or the fork server has died; trying again later may work.
        """
        self.name = name
        #: What the process said when it became ready (its port, say); None before.
        self.facts: dict[str, Any] | None = None
        #: Seconds within which it promised its next sign of life; None where it gives none.
        self.promised: float | None = None
        self._promised_at = 0.0
        #: None while it lives; negative: the signal that ended it.
        self.exit_code: int | None = None
        #: True when its fork server has died: it lives, but nobody would learn its exit code.
        self.is_lost = False
        self._status, sender = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_enter, name=name, args=(entry, sender, args))
        try:
            self._process.start()
        except BaseException as error:
            self._status.close()
            if isinstance(error, (OSError, EOFError)):
                raise Unavailable(f"{name} cannot be started now: {error or 'the fork server has died'}") from error
            raise
        finally:
            sender.close()
        self.pid = self._process.pid or 0
        # Nothing outlives its starter: what is still there at the end of this process is stopped then.
        self._at_exit = util.Finalize(None, self.stop, exitpriority=100)

    @property
    def is_ready(self) -> bool:
        return self.facts is not None

    @property
    def is_alive(self) -> bool:
        """Whether the process lived at the last ``refresh``."""
        return self.exit_code is None

    @property
    def sign_due_at(self) -> float | None:
        """When a process that has given no sign since must be taken to stand still; None where it promised none."""
        return None if self.promised is None else self._promised_at + self.promised

    def forgive(self) -> None:
        """Let the time to the next sign begin anew: nobody could have given one, or have read it."""
        self._promised_at = time.monotonic()

    def signals(self) -> list[Any]:
        """What ``multiprocess.connection.wait`` can wait for; when one is readable, ``refresh`` has news."""
        if not self.is_alive:
            return []
        return [self._status] if self.is_lost else [self._status, self._process.sentinel]

    def refresh(self) -> None:
        """Take in what has happened since.  Does not wait."""
        if not self.is_alive or self._has_gone():
            return
        # The sentinel speaks after the pipe has closed, so an open pipe beside it means: no fork server.
        if self._process.exitcode is not None and not self._has_gone():
            self.is_lost = True

    def wait_ready(self, timeout: float) -> dict[str, Any]:
        """Wait until the process is ready, and return what it said then.

        Raises:
            ProcessEnded: It ended first.
            TimeoutError: Neither happened within ``timeout`` seconds.
        """
        if not self._wait(lambda: self.is_ready or not self.is_alive, timeout):
            raise TimeoutError(f"{self.name} was not ready within {timeout:g} seconds.")
        if self.facts is None:
            assert self.exit_code is not None
            raise ProcessEnded(self.name, self.exit_code)
        return self.facts

    def wait_gone(self, timeout: float | None = None) -> int | None:
        """Wait until the process is gone; returns its exit code, or None when it lives on after ``timeout`` seconds."""
        self._wait(lambda: not self.is_alive, timeout)
        return self.exit_code

    def send_signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process is gone."""
        self.refresh()
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, timeout: float = 15.0) -> int:
        """Ask the process to stop, and kill it when it has not within ``timeout`` seconds; returns its exit code."""
        self.send_signal(signal.SIGTERM)
        code = self.wait_gone(timeout)
        return self.kill() if code is None else code

    def kill(self) -> int:
        """End the process at once, with no cleanup; returns its exit code."""
        self.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        code = self.wait_gone(_SOON)
        return UNKNOWN if code is None else code

    def _wait(self, is_done: Callable[[], bool], timeout: float | None) -> bool:
        end = None if timeout is None else time.monotonic() + timeout
        self.refresh()
        while not is_done():
            remaining = None if end is None else end - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            connection.wait(self.signals(), remaining)
            self.refresh()
        return True

    def _has_gone(self) -> bool:
        try:
            while self._status.poll(0):
                self._take(self._status.recv())
            return False
        except (EOFError, ConnectionError):
            self._close()
            return True

    def _take(self, told: dict[str, Any] | float) -> None:
        if isinstance(told, dict):
            self.facts = told
        else:
            self.promised, self._promised_at = told, time.monotonic()

    def _close(self) -> None:
        self._process.join(_SOON)
        code = self._process.exitcode
        self.exit_code = UNKNOWN if code is None else code
        self._status.close()
        self._at_exit.cancel()
        if code is not None:
            self._process.close()


def preload(modules: Iterable[str]) -> None:
    """Name the modules that the machine's fork server shall import once for all, before it is first used."""
    if sys.platform != "win32":
        _fork_server.preload(modules)


def wait_any_child(children: Iterable[Child], timeout: float | None = None, *also: Any) -> None:
    """Wait until there is news of one of the children (or something in ``also`` is readable), and take all news in."""
    children = list(children)
    connection.wait([*also, *(signal for child in children for signal in child.signals())], timeout)
    for child in children:
        child.refresh()


def describe_exit(code: int) -> str:
    """Exit code for people: ``signal 9 (SIGKILL)``, ``exit code 1``."""
    if code == UNKNOWN:
        return "exit code not known"
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"


def _enter(entry: str, status: Any, args: tuple[Any, ...]) -> None:
    pkgutil.resolve_name(entry)(status, *args)
