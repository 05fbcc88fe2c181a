"""What an executor process may take from the machine, set once before it runs blocks.

The kernel keeps the limits that it knows; ``usage.py`` has the manager watch over the others.  Nothing here is a wall
against malice: blocks are code of this server's owner, which may be wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from autogpt_server.executor.child_count import ChildCount
from autogpt_server.settings import Settings

if sys.platform != "win32":
    import resource

#: Names the executor in the environment of whatever its blocks start.
COOKIE = "AUTOGPT_EXECUTOR_FOLDER"
#: Megabytes on top of the limit at which the kernel itself refuses memory: address space that nobody uses counts, too.
_SLACK_MB = 1024
#: Audit events of CPython (docs.python.org/3/library/audit_events.html) that come before a process is started.
_STARTS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"})
#: prctl(2): whatever an executor's children leave behind becomes its own child.
_PR_SET_CHILD_SUBREAPER = 36


def executor_folder(settings: Settings, pid: int) -> Path:
    """The folder of one executor process: temporary files of its blocks, and how many processes they started."""
    return settings.run_dir / f"executor-{pid}"


def confine(settings: Settings, on_fork: Callable[[], None]) -> None:
    """Confine this process.

    Args:
        settings: How much it may take.
        on_fork: Called in a process that a block forks: to close what must end with this one.
    """
    folder = executor_folder(settings, os.getpid())
    _use_folder(folder)
    if sys.platform == "win32":
        return
    # What its blocks start can be told from everything else, and be ended together.
    with contextlib.suppress(PermissionError):
        os.setsid()
    os.environ[COOKIE] = str(folder)  # noqa: TID251 (for what is started from here, nothing is read)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _limit_memory(settings.executor_memory_mb)
    _close_outputs()
    os.register_at_fork(after_in_child=_note_fork)
    os.register_at_fork(after_in_child=on_fork)
    _count_children(ChildCount(folder / "children"), settings.executor_max_children)


#: Whether this process was forked from an executor by a block.
_is_forked = False


def end_if_forked() -> None:
    """End here where a block forked and let its child run on: only the original goes on with the execution."""
    if _is_forked:
        os._exit(0)


def _note_fork() -> None:
    global _is_forked
    _is_forked = True


def _use_folder(folder: Path) -> None:
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)  # noqa: TID251 (as above)


def _limit_memory(megabytes: int) -> None:
    """Let allocations fail before the machine has none left; a block then ends with MemoryError."""
    soft = (megabytes + _SLACK_MB) << 20
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    # Not on every system; the manager looks, too.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _close_outputs() -> None:
    """Drop what goes to the standard outputs past Python, from C or from child processes: nobody could bound it.

    What blocks print is kept with their nodes, and our own log has a descriptor of its own.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)


def _count_children(count: ChildCount, limit: int) -> None:
    def before(event: str, _: tuple[object, ...]) -> None:
        if event in _STARTS:
            count.claim(limit)

    sys.addaudithook(before)
