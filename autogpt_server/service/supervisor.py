"""The small parent: starts the processes in order of readiness, restarts what dies, stops all in reverse order.

Standard library and multiprocess only, so that it costs next to nothing beside the processes it watches.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from autogpt_server.errors import Unavailable
from autogpt_server.service.child import REFUSED, Child, describe_exit, wait_any_child
from autogpt_server.service.restarts import RestartDelay

#: Seconds in which a process must become ready; a process run once may take any time.
READY_WITHIN = 60.0
#: Seconds after which the supervisor turns again while processes promise signs of life; and after how many that it
#: did not turn everything must have stood still, this process at least: nobody is to blame then.
_TURN_SECONDS, _STOOD_STILL_SECONDS = 1.0, 4.0

_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]

_EARLY_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running, named by import path so that the supervisor need not import it."""

    #: ``package.module:ClassName`` of an AppProcess, or of a function that takes the settings when ``once`` is set.
    path: str
    #: Names of the processes that must be ready (or, run once, have ended well) before this one starts.
    after: tuple[str, ...] = ()
    #: Run to its end once, before those that come after it, instead of kept running.
    once: bool = False
    #: Told by SIGUSR1 that a stop begins, before the first process is stopped: it takes no new work from then on.
    is_told_early: bool = False
    #: Seconds for an orderly stop; more than the process allows itself before its own hard end.
    stop_within: float = 15.0

    @property
    def name(self) -> str:
        return self.path.partition(":")[2]


class _Slot:
    """A place for one process, whatever number of times it is started."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.child: Child | None = None
        self.is_done = False
        self.was_ready = False
        self.is_announced = False
        self._delay = RestartDelay()
        self.started_at = self.due_at = time.monotonic()
        self.ready_by = self.started_at + READY_WITHIN

    @property
    def serves(self) -> bool:
        """Whether those that come after it may start."""
        return self.is_done if self.spec.once else self.child is not None and self.child.is_ready

    @property
    def deadline(self) -> float | None:
        """When something must be done here even if nothing happens."""
        if self.is_done:
            return None
        if self.child is None:
            return self.due_at
        if self.child.is_ready:
            return self.child.sign_due_at
        return None if self.spec.once else self.ready_by

    @property
    def is_late(self) -> bool:
        """Whether its process has not done in time what it must."""
        return self.child is not None and self.deadline is not None and self.deadline <= time.monotonic()

    def describe_lateness(self) -> str:
        """Say what its process has not done."""
        if self.child is None or not self.child.is_ready:
            return f"was not ready within {READY_WITHIN:g} s"
        return f"({self.child.pid}) has stood still for {self.child.promised:g} s"

    def forgive(self) -> None:
        """Give its process the full time again."""
        self.ready_by = time.monotonic() + READY_WITHIN
        if self.child is not None:
            self.child.forgive()

    def start(self) -> None:
        entry = "call_by_path" if self.spec.once else "live_by_path"
        self.started_at, self.is_announced = time.monotonic(), False
        self.ready_by = self.started_at + READY_WITHIN
        self.child = Child(self.spec.name, f"autogpt_server.service.process:{entry}", self.spec.path)

    def schedule(self) -> float:
        """Note that the process has ended; returns the seconds until its next start."""
        now = time.monotonic()
        seconds = self._delay.after(now - self.started_at)
        self.child, self.due_at = None, now + seconds
        return seconds


class Supervisor:
    """Keeps processes running until a signal says stop.  The process it runs in belongs to it: it reaps every child.

    Args:
        specs: The processes, in the order in which they start; they stop in the reverse order.
        on_ready: Called with name and facts whenever one has become ready.
        say: Where its own lines go; standard error by default.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        on_ready: Callable[[str, dict[str, Any]], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._slots = {spec.name: _Slot(spec) for spec in specs}
        unknown = {name for spec in specs for name in spec.after} - self._slots.keys()
        if unknown or len(self._slots) != len(specs):
            raise ValueError(f"Names of processes must be unique, and those waited for known: {sorted(unknown)}")
        self._on_ready = on_ready or _ignore
        self._say = say or _say_on_stderr
        self._exit_code: int | None = None
        self._stop_signals_seen = 0
        self._turned_at = time.monotonic()

    def run(self) -> int:
        """Start, watch and restart until a signal or a refusal; returns the exit code when all have ended."""
        with _wakeups() as self._wakeup:
            try:
                while self._exit_code is None:
                    self._start_what_may()
                    self._wait(self._children(), self._seconds_to_deadline())
                    self._look_after_all()
                return self._exit_code
            finally:
                self._stop_all()

    def _start_what_may(self) -> None:
        now = time.monotonic()
        for slot in self._slots.values():
            waits = any(not self._slots[name].serves for name in slot.spec.after)
            if slot.child is not None or slot.is_done or slot.due_at > now or waits:
                continue
            try:
                slot.start()
            except Unavailable as error:
                self._say(f"{error}; trying again in {slot.schedule():g} s")

    def _look_after_all(self) -> None:
        for slot in self._slots.values():
            if slot.child is not None and slot.child.is_lost:
                self._replace_fork_server()
                return
            if slot.child is not None:
                self._look_after(slot, slot.child)

    def _look_after(self, slot: _Slot, child: Child) -> None:
        if child.facts is not None and not slot.is_announced:
            slot.is_announced = slot.was_ready = True
            self._say(f"{slot.spec.name} {'is done' if slot.spec.once else 'is ready'}")
            self._on_ready(slot.spec.name, child.facts)
        if child.exit_code is not None:
            self._after_end(slot, child.exit_code)
        elif slot.is_late:
            self._say(f"{slot.spec.name} {slot.describe_lateness()}; killing it")
            child.kill()

    def _after_end(self, slot: _Slot, exit_code: int) -> None:
        if slot.spec.once and exit_code == 0:
            slot.child, slot.is_done = None, True
        elif exit_code == REFUSED and not slot.was_ready:
            self._say(f"{slot.spec.name} refuses to start, see above; stopping")
            slot.child, self._exit_code = None, REFUSED
        else:
            seconds = slot.schedule()
            self._say(f"{slot.spec.name} ended ({describe_exit(exit_code)}); starting it again in {seconds:g} s")

    def _replace_fork_server(self) -> None:
        self._say("The fork server died; starting all processes again")
        self._end_children()
        for slot in self._slots.values():
            slot.child, slot.due_at = None, time.monotonic()

    def _stop_all(self) -> None:
        self._end_children()
        for slot in self._slots.values():
            slot.child = None

    def _end_children(self) -> None:
        """Stop all in reverse order, each with its time; a second signal to stop kills the rest at once."""
        for slot in self._slots.values():
            if slot.spec.is_told_early and slot.child is not None and slot.child.is_ready and _EARLY_SIGNAL is not None:
                slot.child.send_signal(_EARLY_SIGNAL)
        for slot in reversed(self._slots.values()):
            if (child := slot.child) is None:
                continue
            child.send_signal(signal.SIGTERM)
            end = time.monotonic() + slot.spec.stop_within
            while child.is_alive and not slot.is_late and time.monotonic() < end and self._stop_signals_seen < 2:
                deadline = end if slot.deadline is None else min(end, slot.deadline)
                self._wait([child], max(0.0, deadline - time.monotonic()))
            if child.is_alive:
                self._say(f"{child.name} has not ended in time; killing it")
                child.kill()

    def _children(self) -> list[Child]:
        return [slot.child for slot in self._slots.values() if slot.child is not None]

    def _seconds_to_deadline(self) -> float | None:
        deadlines = [
            slot.deadline
            for slot in self._slots.values()
            if slot.deadline is not None and (slot.child or all(self._slots[name].serves for name in slot.spec.after))
        ]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _wait(self, children: Sequence[Child], timeout: float | None) -> None:
        if any(child.promised is not None for child in self._children()):
            timeout = _TURN_SECONDS if timeout is None else min(timeout, _TURN_SECONDS)
        wait_any_child(children, timeout, self._wakeup)
        self._forgive_after_standstill()
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wakeup, 4096):
                if number in _STOP_SIGNALS:
                    self._stop_signals_seen += 1
                    self._exit_code = 0 if self._exit_code is None else self._exit_code
        _reap()

    def _forgive_after_standstill(self) -> None:
        """A machine that was suspended, or a server that was frozen as a whole, must not look like dead processes."""
        now = time.monotonic()
        if now - self._turned_at > _STOOD_STILL_SECONDS:
            for slot in self._slots.values():
                slot.forgive()
        self._turned_at = now


@contextlib.contextmanager
def _wakeups() -> Generator[int]:
    """A file descriptor that becomes readable at every signal; its bytes are their numbers."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signals = [*_STOP_SIGNALS, *([signal.SIGCHLD] if hasattr(signal, "SIGCHLD") else [])]
    before = {number: signal.signal(number, _ignore) for number in signals}
    fd_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)


def _ignore(*_: object) -> None:
    """Nothing to do: the wakeup has told already."""


def _reap() -> None:
    """Take leave of orphans: as first process of a container the supervisor inherits those of dead processes."""
    with contextlib.suppress(ChildProcessError):
        while hasattr(os, "WNOHANG") and os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _say_on_stderr(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"autogpt-server: {line}\n")
        sys.stderr.flush()
