"""``AppProcess``: the life of one process, from its logs and signals to its last cleanup."""

from __future__ import annotations

import contextlib
import logging
import os
import pkgutil
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from setproctitle import setproctitle

from autogpt_server import logs
from autogpt_server.errors import InvalidError, ServerError
from autogpt_server.service import crash_points
from autogpt_server.service.child import REFUSED, Child, wait_any_child
from autogpt_server.service.lifeline import Lifeline
from autogpt_server.service.pulse import Pulse
from autogpt_server.settings import Settings

__all__ = ["AppProcess", "wait_any"]

log = logging.getLogger(__name__)

#: Seconds beyond ``stop_seconds`` after which a starter need no longer believe that the process ends by itself.
_END_MARGIN = 5.0


class AppProcess(ABC):
    """A process of this server.

    Subclasses write ``run()``, and ``cleanup()`` where they have something to close.  The object is built by whoever
    starts the process and travels into it, so its attributes must be picklable (connections, locks and queues of
    ``multiprocess`` are); what cannot travel is made in ``run()``.

    Start:
        ``start()`` runs it here and returns when it has ended; ``start(background=True)`` forks it from the machine's
        fork server and returns its process id at once.  ``with SomeProcess(settings) as process:`` starts it in the
        background, waits until it is ready, and stops it at the end.  Any process may start others.
    Ready:
        A process is ready when ``run()`` begins, unless its class sets ``ready_when_running = False``: then it is
        ready when ``run()`` calls ``self.ready()``, best with the facts a starter wants (``self.ready(port=port)``),
        which ``wait_ready`` returns.  A process that raises InvalidError before it is ready refuses to start: exit
        code 78, which the supervisor does not answer with a restart.
    Stop:
        The first SIGTERM, SIGINT or SIGHUP (the terminal has gone) sets ``self.stopping`` and raises SystemExit in the
        main thread, wherever ``run()`` is; further ones are only logged.  The same happens when the starter dies,
        however it dies.  Then ``cleanup()`` is called once, as it is when ``run()`` returns or raises.  A process that
        has not ended ``stop_seconds`` later ends hard (``os._exit``), even when its main thread is blocked.
        Code that runs an event loop in the main thread takes SIGTERM over (``loop.add_signal_handler``; uvicorn does
        it by itself), because an exception must not be raised into a loop.
    Pulse:
        A process that has parts in its ``pulse`` promises its starter to go on turning, from ``ready()`` on, and to
        end within ``stop_seconds`` once it shall.  The supervisor kills who breaks that promise.
    Exit code:
        0 after an orderly stop, 1 after an exception (logged with its traceback), 78 for a refusal.
    Environment:
        A process in the background has the environment of the fork server, that is of the first starter when it first
        started one.  Settings are therefore passed, or built from the environment in the process when they are not.
    """

    #: Whether the process counts as ready when ``run()`` begins; False: ``run()`` calls ``self.ready()``.
    ready_when_running: ClassVar[bool] = True
    #: Seconds from the wish to stop to the hard end; ``run`` may change it to what settings say.
    stop_seconds: float = 10.0

    _given_settings: Settings | None = None
    _child: Child | None = None
    _status: Any = None
    _is_ready = False

    def __init__(self, settings: Settings | None = None) -> None:
        self._given_settings = settings

    @abstractmethod
    def run(self) -> None:
        """Do the work of this process; it ends when this returns."""

    def cleanup(self) -> None:  # noqa: B027 (most processes have nothing to close)
        """Close what ``run`` opened.  Called once in the main thread, after ``run``, within ``stop_seconds``.

        ``run`` may have been left at any line, the first included.
        """

    @property
    def name(self) -> str:
        """Shown in logs and in ``ps``."""
        return type(self).__name__

    @cached_property
    def settings(self) -> Settings:
        """The settings given at the start, else those of the environment."""
        return self._given_settings or Settings()

    @cached_property
    def stopping(self) -> threading.Event:
        """Set when the process shall end; threads of it may wait for it."""
        return threading.Event()

    @cached_property
    def pulse(self) -> Pulse:
        """Tells the starter that this process does not stand still; its parts are what must turn."""
        return Pulse(self._promise, self.settings.process_stall_seconds)

    def ready(self, **facts: Any) -> None:
        """Tell the starter that this process can be used, with facts about it (plain values).  Call it once."""
        if self._is_ready:
            raise RuntimeError(f"{self.name} is ready already; set ready_when_running = False in its class.")
        self._is_ready = True
        if self._status is not None:
            # A starter that has gone is noticed elsewhere.
            with contextlib.suppress(BrokenPipeError):
                self._status.send(facts)
            # What follows are signs of life, and a starter that reads none must not hold anybody up.
            os.set_blocking(self._status.fileno(), False)
        self.pulse.begin()

    def let_go(self) -> None:
        """Close, in a process that something forked from this one, what says that this one lives."""
        if self._status is not None:
            self._status.close()
            self._status = None

    def end_pulse(self, seconds: float) -> None:
        """Promise the starter, for the last time, that this process ends within about so many seconds."""
        pulse: Pulse | None = self.__dict__.get("pulse")
        if pulse is not None:
            pulse.end(seconds + _END_MARGIN)

    def _promise(self, seconds: float) -> None:
        if self._status is not None:
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                self._status.send(seconds)

    # The starter's side

    def start(self, background: bool = False, silent: bool = False) -> int:
        """Start the process.

        Args:
            background: In a new process; otherwise here, in the main thread.
            silent: Throw away what it writes to standard output and standard error.

        Returns:
            The id of the new process at once; 0 when it ran here and has ended in order.

        Raises:
            SystemExit: It ran here and failed, with its exit code.
            Unavailable: No new process can be started now.
        """
        if not background:
            _live(self, silent)
            return 0
        if self._child is not None and self._child.is_alive:
            raise RuntimeError(f"{self.name} has been started already.")
        self._child = Child(self.name, f"{__name__}:live", self, silent)
        return self._child.pid

    def wait_ready(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until the started process is ready, and return the facts that it gave.

        Raises:
            ProcessEnded: It ended first; carries the exit code.
            TimeoutError: Neither happened within ``timeout`` seconds.
        """
        return self.child.wait_ready(timeout)

    def stop(self, timeout: float | None = None) -> int:
        """Stop the started process in order, and kill it when it has not ended within ``timeout`` seconds.

        Args:
            timeout: Defaults to a little more than ``stop_seconds``.

        Returns:
            Its exit code (negative: the signal that ended it).
        """
        return self.child.stop(self.stop_seconds + 2 if timeout is None else timeout)

    @property
    def is_started(self) -> bool:
        """Whether it was started in the background."""
        return self._child is not None

    @property
    def child(self) -> Child:
        """The started process: pid, readiness, exit code, signals."""
        if self._child is None:
            raise RuntimeError(f"{self.name} has not been started in the background.")
        return self._child

    def __enter__(self) -> Self:
        self.start(background=True)
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __getstate__(self) -> dict[str, Any]:
        here_only = {"_child", "_status", "_is_ready", "stopping", "settings", "pulse"}
        return {name: value for name, value in self.__dict__.items() if name not in here_only}


def wait_any(processes: Iterable[AppProcess], timeout: float | None = None) -> None:
    """Wait until one of the started processes became ready or ended.  Their ``child`` says which and how."""
    wait_any_child((process.child for process in processes), timeout)


def live(status: Any, process: AppProcess, silent: bool = False) -> None:
    """Entry of a new process: live the life of an AppProcess object that travelled here."""
    process._status = status  # pyright: ignore[reportPrivateUsage]
    _live(process, silent)


def live_by_path(status: Any, path: str) -> None:
    """Entry of a new process: build ``package.module:ClassName`` with the environment's settings, and live its life."""
    name = path.partition(":")[2]
    logs.configure(name)
    try:
        process = pkgutil.resolve_name(path)()
    except Exception as error:
        # Constructors may read settings, which may be wrong.
        raise SystemExit(_report(name, error, is_ready=False)) from None
    live(status, process)


def call_by_path(status: Any, path: str) -> None:
    """Entry of a new process: call ``package.module:function`` with the environment's settings, and end."""
    live(status, _Call(path))


class _Call(AppProcess):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    ready_when_running = False

    @property
    def name(self) -> str:
        return self._path.partition(":")[2]

    def run(self) -> None:
        pkgutil.resolve_name(self._path)(self.settings)
        self.ready()


def _live(process: AppProcess, silent: bool) -> None:
    if silent:
        _silence()
    setproctitle(f"autogpt: {process.name}")
    code: int | str | None = 0
    with Lifeline(process.name, process.stopping, lambda: process.stop_seconds, process.end_pulse) as lifeline:
        try:
            _configure_logs(process)
            crash_points.arm(process.settings.crash_points_dir)
            crash_points.crash_point("process.entered")
            if process.ready_when_running:
                process.ready()
            process.run()
            # Inside the try: from here on signals are only logged, so that none can cut the cleanup short.
            lifeline.end()
        except SystemExit as end:
            lifeline.end()
            code = end.code
        except Exception as error:
            # The end of the line: nobody above could answer.
            lifeline.end()
            code = _stop_inside(error)
            if code is None:
                code = _report(process.name, error, process._is_ready)  # pyright: ignore[reportPrivateUsage]
        finally:
            code = _clean_up(process) or code
    if code:
        raise SystemExit(code)


def _stop_inside(error: BaseException) -> int | str | None:
    """Return the exit code of the stop that a signal raised, where that made something fail that it interrupted."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, SystemExit):
            return inner.code
        inner = inner.__context__
    return None


def _configure_logs(process: AppProcess) -> None:
    # Once with defaults, so that bad settings can be told.
    logs.configure(process.name)
    logs.configure(process.name, process.settings.log_level, process.settings.log_format)


def _report(name: str, error: Exception, is_ready: bool) -> int:
    """Log why a process ends; returns its exit code."""
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        # Without the values: they may be secrets.
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        log.error("%s does not start, a setting is wrong: %s", name, fields)
        return REFUSED
    if isinstance(error, InvalidError) and not is_ready:
        log.error("%s does not start: %s", name, error)
        return REFUSED
    if isinstance(error, ServerError):
        # Said on purpose, in words that need no traceback.
        log.error("%s failed: %s", name, error)
        return 1
    log.error("%s failed", name, exc_info=error)
    return 1


def _clean_up(process: AppProcess) -> int:
    try:
        process.cleanup()
    except Exception:
        # The process ends either way; the exit code tells that something may be left open.
        log.exception("%s failed to clean up", process.name)
        return 1
    return 0


def _silence() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)
