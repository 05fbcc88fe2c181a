"""What a server leaves on its machine: processes, and files of processes that are no more."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import psutil

from tests.make_settings import make_settings
from tests.running_server import Server

#: Seconds in which what nobody needs any more must be gone.
_LIMIT = 15.0


def processes(data_dir: Path) -> list[psutil.Process]:
    """Everything that was started with this server, whoever its parent is now: all of it works in its folder."""
    return [one for one in psutil.process_iter() if _works_in(one, data_dir)]


def files(data_dir: Path) -> list[Path]:
    """What stands in the run folder under the number of a process that is no more.

    Sockets are left out: whoever nudges next removes those that nobody listens at.
    """
    found: list[Path] = []
    for path in make_settings(data_dir, "").run_dir.iterdir():
        owner = re.match(r"(?:executor|server|side)-(\d+)", path.name)
        if owner is not None and not psutil.pid_exists(int(owner[1])) and not path.is_socket():
            found.append(path)
    return found


def assert_nothing_is_left(server: Server) -> None:
    """Wait until no file of a dead process is left, and no process that is not below the server's first."""
    end = time.monotonic() + _LIMIT
    while left := [*files(server.data_dir), *_orphans(server)]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def _orphans(server: Server) -> set[psutil.Process]:
    if server.process.poll() is not None:
        return set(processes(server.data_dir))
    first = psutil.Process(server.process.pid)
    # In this order: what is started meanwhile is in the second alone.
    found = set(processes(server.data_dir))
    return found - {first, *first.children(recursive=True)}


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        is_alive = process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
        return is_alive and process.cwd() == str(folder)
    except psutil.Error:
        return False
