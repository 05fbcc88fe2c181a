"""When a process must end: at a signal, at the death of its starter, and hard when it does not get around to it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Self

from multiprocess import connection, parent_process

log = logging.getLogger(__name__)

_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]


class Lifeline:
    """Watches over the life inside the ``with`` block.

    The first signal to stop, or the death of the starter, raises SystemExit in the main thread and sets ``stopping``;
    further signals are only logged.  Where the process was started by another one, it ends hard ``stop_seconds`` after
    that, or after ``end()``; in the foreground its user sees that it hangs.

    Args:
        name: Of the process, for the log.
        stopping: Set when it must end.
        stop_seconds: Asked then.
        on_end: Called then, in another thread, with these seconds.
    """

    def __init__(
        self,
        name: str,
        stopping: threading.Event,
        stop_seconds: Callable[[], float],
        on_end: Callable[[float], None],
    ) -> None:
        self._name, self._stopping, self._stop_seconds, self._on_end = name, stopping, stop_seconds, on_end
        self._is_ending = False
        self._starter = parent_process()
        # A signal handler must not touch the event: the code that it interrupts may hold the event's lock.
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="lifeline", daemon=True)

    def __enter__(self) -> Self:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in _STOP_SIGNALS}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if self._starter is None:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._thread.join()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def end(self) -> None:
        """From now on signals are only logged, and the time to the hard end runs."""
        if self._is_ending:
            return
        self._is_ending = True
        os.write(self._wake_write, b".")
        for number in self._before:
            # Once more: an event loop may have taken them over, and left the default, which kills.
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._is_ending:
            log.info("%s is stopping already (%s)", self._name, signal.Signals(number).name)
            return
        self.end()
        raise SystemExit(0)

    def _watch(self) -> None:
        signs = [self._wake_read] if self._starter is None else [self._wake_read, self._starter.sentinel]
        if self._wake_read not in connection.wait(signs):
            log.warning("%s ends: the process that started it has gone", self._name)
            _interrupt_main_thread()
        self._stopping.set()
        if self._starter is not None:
            seconds = self._stop_seconds()
            self._on_end(seconds)
            time.sleep(seconds)
            log.error("%s has not ended %g s after it should have; it ends hard", self._name, seconds)
            os._exit(1)


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        # To the thread itself, so that a system call in which it waits is interrupted.
        signal.pthread_kill(main, signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)
