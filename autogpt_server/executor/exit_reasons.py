"""Says in words how an executor process ended."""

from __future__ import annotations

import signal

from autogpt_server.service.child import UNKNOWN, describe_exit

#: Exit code of an executor process that leaves because its memory is used up.
OUT_OF_MEMORY = 77

_MEANINGS = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGBUS: "access to memory that is not there",
    signal.SIGABRT: "code that gave up, abort()",
    signal.SIGFPE: "a wrong calculation in C",
    signal.SIGILL: "a broken instruction",
    signal.SIGKILL: "killed, perhaps because the machine had no memory left",
}


def exit_reason(code: int, memory_mb: int) -> str:
    """Explain an exit code, or the signal that a negative one stands for."""
    if code == OUT_OF_MEMORY:
        return f"it used up its {memory_mb:,} MB of memory (AUTOGPT_EXECUTOR_MEMORY_MB)"
    if code >= 0 and code != UNKNOWN:
        return f"it ended itself with exit code {code}"
    meaning = _MEANINGS.get(signal.Signals(-code)) if -code in set(signal.Signals) else None
    return f"it ended by {describe_exit(code)}" + (f": {meaning}" if meaning else "")
