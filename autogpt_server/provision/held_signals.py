"""Signals that end a program wait for the end of a step that must not be left half done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

_HELD = [signal.SIGINT, signal.SIGTERM]


@contextmanager
def held_signals() -> Generator[None]:
    """Hold SIGINT and SIGTERM back inside the block; the first that came is sent again when the block is left.

    Their handlers are replaced, and the signals not blocked: a program that the block starts would inherit a block, but
    has the handlers of a new program.  Outside the main thread, where Python runs no handlers, nothing is held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            os.kill(os.getpid(), came[0])
