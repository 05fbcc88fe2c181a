"""A supervisor in a process of its own: ``python supervised.py SPEC...``, and the tests' handle on one."""

from __future__ import annotations

import ctypes
import json
import os
import queue
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import psutil

#: Seconds that anything here may take.
LIMIT = 20.0


def main(specs: list[dict[str, Any]]) -> int:
    from autogpt_server.service import child, supervisor

    def ready(name: str, facts: dict[str, Any]) -> None:
        os.write(1, (json.dumps({"ready": name, **facts}) + "\n").encode())

    if limit := os.environ.get("SAMPLE_READY_WITHIN"):
        supervisor.READY_WITHIN = float(limit)
    if os.environ.get("SAMPLE_ADOPTS_ORPHANS"):
        adopt_orphans = 36  # PR_SET_CHILD_SUBREAPER; the first process of a container is in the same position
        ctypes.CDLL(None).prctl(adopt_orphans, 1, 0, 0, 0)
    child.preload(["autogpt_server.service.process", "sample_processes"])
    found = [supervisor.ProcessSpec(**{**spec, "after": tuple(spec.get("after", ()))}) for spec in specs]
    return supervisor.Supervisor(found, on_ready=ready).run()


class Supervised:
    """Runs a supervisor over sample processes and reads what it and they say, line by line."""

    def __init__(self, *specs: dict[str, Any], folder: Path, environment: dict[str, str] | None = None) -> None:
        root = Path(__file__).parent.parent.parent
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(specs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": f"{root}{os.pathsep}{Path(__file__).parent}",
                "AUTOGPT_DATA_DIR": str(folder),
                **(environment or {}),
            },
        )
        self.pid = self.process.pid
        self._out: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._err: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=_read, args=(self.process.stdout, self._out)),
            threading.Thread(target=_read, args=(self.process.stderr, self._err)),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        family = self.family()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        for member in family:
            if member.is_running():
                member.kill()
        for reader in self._readers:
            reader.join(LIMIT)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def family(self) -> list[psutil.Process]:
        """All processes that came from it, the fork server's children included."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def fork_server(self) -> psutil.Process:
        return next(p for p in self.family() if "import serve" in " ".join(p.cmdline()) and p.ppid() == self.pid)

    def ready(self) -> dict[str, Any]:
        """The next process that becomes ready; lines of other kinds are passed over."""
        while True:
            line = self.line()
            if line.startswith("{"):
                return json.loads(line)

    def line(self) -> str:
        return self._out.get(timeout=LIMIT)

    def complaint(self, about: str, limit: float = LIMIT) -> str:
        """The next line on standard error that contains a text.

        Raises:
            queue.Empty: No line came for ``limit`` seconds.
        """
        while about not in (line := self._err.get(timeout=limit)):
            pass
        return line

    def rest(self) -> list[str]:
        """What else it said on standard output until its end."""
        for reader in self._readers:
            reader.join(LIMIT)
        lines: list[str] = []
        while not self._out.empty():
            lines.append(self._out.get())
        return lines

    def wait(self) -> int:
        return self.process.wait(LIMIT)


def all_gone(processes: list[psutil.Process]) -> bool:
    """Wait until processes have ended, whether or not their new parent has taken leave of them already."""
    return all(_has_ended(process) for process in processes)


def _has_ended(process: psutil.Process) -> bool:
    if not process.is_running():
        return True
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], LIMIT)[0])
    finally:
        os.close(fd)


def _read(stream: Any, lines: queue.SimpleQueue[str]) -> None:
    for line in stream:
        lines.put(line.decode().rstrip("\n"))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
