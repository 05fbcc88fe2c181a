"""Ends what the blocks of an executor process have left behind, once that process is gone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

import psutil

from autogpt_server.executor.child_count import has_children
from autogpt_server.executor.confinement import COOKIE, executor_folder
from autogpt_server.settings import Settings

#: Names of what belongs to an executor process: its sockets, and those at which it waits for processes beside it.
_OF_EXECUTOR = re.compile(r"(?:executor-(\d+)\.|side-(\d+)-)")
#: Seconds to go on killing; what forks without end dies with its group at the first look.
_KILLING_SECONDS = 5.0


def clear_away(settings: Settings, pid: int) -> None:
    """End the processes and remove the files of an executor process that has ended a moment ago."""
    folder = executor_folder(settings, pid)
    if has_children(folder / "children"):
        kill_leftovers(folder, session=pid)
    shutil.rmtree(folder, ignore_errors=True)
    _remove_sockets(settings, pid)


def _remove_sockets(settings: Settings, pid: int) -> None:
    # Not its marks: whoever rescues its work reads them first.
    for name in (f"executor-{pid}.*", f"side-{pid}-*"):
        for path in settings.run_dir.glob(name):
            if path.is_socket():
                path.unlink(missing_ok=True)


def clear_away_all(settings: Settings, living: Collection[int]) -> None:
    """Do so for every executor process of this server that is no more, whoever started it."""
    for folder in settings.run_dir.glob("executor-*"):
        name = folder.name.removeprefix("executor-")
        if name.isdecimal() and int(name) not in living and not _is_executor(int(name)):
            # Its number may be somebody else's by now, who must not be taken for it.
            if has_children(folder / "children"):
                kill_leftovers(folder, session=None)
            shutil.rmtree(folder, ignore_errors=True)
    owners = {int(name[1] or name[2]) for path in settings.run_dir.glob("*") if (name := _OF_EXECUTOR.match(path.name))}
    for pid in owners:
        if pid not in living and not _is_executor(pid):
            _remove_sockets(settings, pid)


def kill_leftovers(folder: Path, session: int | None) -> int:
    """Kill whatever was started below an executor that has ended; returns how many there were.

    Args:
        folder: Of the executor; what was started carries it in its environment, or the file in which it is counted
            in its memory.
        session: That of the executor, where its number cannot have been given away yet.
    """
    killed: set[int] = set()
    end = time.monotonic() + _KILLING_SECONDS
    while time.monotonic() < end:
        if session is not None:
            # One call for the whole group: nothing in it can fork away meanwhile.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(session, signal.SIGKILL)
        found = [process for process in psutil.process_iter() if _belongs(process, folder, session)]
        if not found:
            break
        for process in found:
            killed.add(process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=0.1)
    return len(killed)


def _belongs(process: psutil.Process, folder: Path, session: int | None) -> bool:
    """Tell by its session, which it has unless it left it, and else by what stands in its environment."""
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if session is not None and os.getsid(process.pid) == session:
            return True
        return process.environ().get(COOKIE) == str(folder) or _was_forked(process, folder)
    except (psutil.Error, OSError):
        return False


def _was_forked(process: psutil.Process, folder: Path) -> bool:
    """Tell a process that an executor's block forked and that started no program since: it has that one's memory."""
    if sys.platform != "linux" or not _has_our_name(process):
        return False
    return f"{folder.resolve()}/children" in Path(f"/proc/{process.pid}/maps").read_text(errors="replace")


def _is_executor(pid: int) -> bool:
    """Tell a process of a server, which cleans up after itself, from another one that got its number."""
    try:
        return _has_our_name(psutil.Process(pid))
    except psutil.Error:
        return False


def _has_our_name(process: psutil.Process) -> bool:
    return any(part.startswith("autogpt: ") for part in process.cmdline())


def kill_tree(pid: int) -> None:
    """Kill a process and all below it, at once."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        # So that it starts nothing while its children are counted.
        process.suspend()
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        process.kill()
