"""Schedulers beside a server on one database, each as on a machine of its own, for as long as they are let live."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.postgres_server import end_with_parent, free_port

#: Seconds that one may take to stop.
_LIMIT = 20.0


class SchedulerProcesses:
    """Runs inside its ``with`` block.

    Args:
        env: Of the server.
        folder: Each gets one of its own below it: nothing but the database joins them.
        count: How many.
    """

    def __init__(self, env: dict[str, str], folder: Path, count: int) -> None:
        self._env, self._folder = env, folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._count = count

    def __enter__(self) -> Self:
        for number in range(self._count):
            self._start(number)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LIMIT)
            process.kill()
            process.wait()

    @property
    def alive(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in self._processes.values():
            if process.poll() is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(process.pid))
        return found

    def start_again(self, chance: random.Random | None = None) -> None:
        """Start those that have ended; with chance, about every second of them."""
        for number, process in self._processes.items():
            if process.poll() is not None and (chance is None or chance.random() < 0.5):
                self._start(number)

    def log(self) -> str:
        """What all of them said."""
        return "".join((self._folder / f"scheduler-{n}" / "server.log").read_text() for n in self._processes)

    def _start(self, number: int) -> None:
        folder = self._folder / f"scheduler-{number}"
        folder.mkdir(exist_ok=True)
        own = {"AUTOGPT_DATA_DIR": str(folder), "AUTOGPT_EXECUTION_SCHEDULER_PORT": str(free_port())}
        with (folder / "server.log").open("ab") as errors:
            self._processes[number] = subprocess.Popen(
                [sys.executable, "-m", "autogpt_server.scheduler"],
                env=self._env | own,
                cwd=folder,
                stderr=errors,
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )
