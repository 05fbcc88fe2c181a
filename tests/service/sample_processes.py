"""Processes that the tests of this folder start."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel

from autogpt_server.errors import ConflictError, GraphNotFound, InvalidError, NotAuthorizedError, Problem
from autogpt_server.service.process import AppProcess
from autogpt_server.service.service import AppService, expose
from autogpt_server.settings import Settings


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


class Sleeper(AppProcess):
    """Tells its process id, and waits for the end."""

    ready_when_running = False

    def run(self) -> None:
        self.ready(pid=os.getpid())
        threading.Event().wait()

    def cleanup(self) -> None:
        say(f"cleanup {self.name}")


class TripsOverTheStop(Sleeper):
    """As a library does whose clean-up fails where a signal interrupted it."""

    def run(self) -> None:
        try:
            super().run()
        finally:
            raise ValueError("cannot be changed now")


class First(Sleeper): ...


class Second(Sleeper): ...


class Quiet(AppProcess):
    def run(self) -> None:
        self.stopping.wait()


class Returns(AppProcess):
    def __init__(self, exit_code: int = 0) -> None:
        super().__init__()
        self.exit_code = exit_code

    def run(self) -> None:
        if self.exit_code:
            raise SystemExit(self.exit_code)


class Raises(AppProcess):
    ready_when_running = False

    def run(self) -> None:
        raise RuntimeError("out of luck")


class Refuses(AppProcess):
    ready_when_running = False

    def run(self) -> None:
        raise InvalidError("Port 80 is taken.", [Problem("AUTOGPT_PORT", "is in use", "choose another")])


class Silent(AppProcess):
    """Never says that it is ready."""

    ready_when_running = False

    def run(self) -> None:
        threading.Event().wait()


class ReadyTwice(AppProcess):
    def run(self) -> None:
        self.ready()


class KilledOnce(Sleeper):
    """Dies at its first start, stays at its second."""

    def run(self) -> None:
        marker = self.settings.data_dir / "died"
        if not marker.exists():
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().run()


class Stubborn(AppProcess):
    """Blocked in C code that no signal interrupts for long, and slow to clean up."""

    ready_when_running = False

    def run(self) -> None:
        self.stop_seconds = 0.3
        self.ready(pid=os.getpid())
        libc = ctypes.CDLL(None)
        while True:
            libc.usleep(900_000)

    def cleanup(self) -> None:
        threading.Event().wait()


class NeverCleansUp(Sleeper):
    def cleanup(self) -> None:
        say("cleaning up for ever")
        threading.Event().wait()


class StandsStillOnce(Sleeper):
    """Turns for a moment and stands still at its first start; goes on turning at its second."""

    def run(self) -> None:
        marker = self.settings.data_dir / "stood still"
        is_second = marker.exists()
        marker.touch()
        part = self.pulse.part()
        self.ready(pid=os.getpid())
        while True:
            time.sleep(self.pulse.pause)
            if is_second:
                part.turn()


class EndsSlowly(Sleeper):
    """Takes longer to clean up than it may stand still."""

    stop_seconds = 8.0

    def run(self) -> None:
        part = self.pulse.part()
        self.ready(pid=os.getpid())
        while not self.stopping.wait(self.pulse.pause):
            part.turn()

    def cleanup(self) -> None:
        say("cleaning up")
        time.sleep(2.5)
        super().cleanup()


class TurnsWithoutEnd(AppProcess):
    """Gives more signs of life than a starter that does not listen leaves room for."""

    def run(self) -> None:
        part = self.pulse.part()
        self.pulse.begin()
        self.pulse.pause = 0.0
        for _ in range(50_000):
            part.turn()


class LeavesOrphan(Sleeper):
    """Its child's child ends after its parent."""

    def run(self) -> None:
        shell = subprocess.run(["sh", "-c", "sleep 0.5 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True)
        self.ready(orphan=int(shell.stdout))
        threading.Event().wait()


class CountsSignals(AppProcess):
    """Cleans up when told that more signals have arrived."""

    ready_when_running = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self) -> None:
        self.ready()
        threading.Event().wait()

    def cleanup(self) -> None:
        with (self.folder / "cleanups").open("a") as file:
            file.write("one\n")
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


class RunsLoop(CountsSignals):
    """Takes the signals over, as code with an event loop in the main thread does."""

    def run(self) -> None:
        asyncio.run(self.work())

    async def work(self) -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        self.ready()
        await told.wait()


class Starter(Sleeper):
    """Starts a process itself."""

    def run(self) -> None:
        with Sleeper(self.settings) as inner:
            self.ready(pid=os.getpid(), inner=inner.child.pid, parents=[os.getppid(), parent_of(inner.child.pid)])
            threading.Event().wait()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Talks(AppProcess):
    def run(self) -> None:
        say("to standard output")
        sys.stderr.write("to standard error\n")


def migrate(settings: Settings) -> None:
    say("migrated")


def refuse_to_migrate(settings: Settings) -> None:
    raise InvalidError("The database is newer than this release.")


class Point(BaseModel):
    x: int
    y: int = 0


@dataclasses.dataclass
class Span:
    start: datetime
    points: list[Point]


class OwnTrouble(Exception):
    """A class that clients do not know."""


class Arithmetic(AppService):
    """Exposed methods of every kind; inherited by Calculator."""

    @classmethod
    def get_port(cls, settings: Settings) -> int:
        return 0

    @expose
    def add(self, a: int, b: int) -> int:
        return a + b

    @expose
    def subtract(self, a: int, b: int = 1) -> int:
        return a - b

    @expose
    def fun_with_async(self, a: int, b: int) -> int:
        return self.run_and_wait(self.add_async(a, b))

    @expose
    async def add_async(self, a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b


class Calculator(Arithmetic):
    def __init__(self, settings: Settings | None = None, folder: Path = Path()) -> None:
        super().__init__(settings)
        self.folder = folder
        self.calls = 0

    async def startup(self) -> None:
        self.loop = asyncio.get_running_loop()
        (self.folder / "started").touch()

    async def shutdown(self) -> None:
        (self.folder / "shut down").touch()

    @expose
    def span(self, start: datetime, points: list[Point]) -> Span:
        return Span(start, [Point(x=point.x + 1) for point in points])

    @expose
    def nothing(self) -> None:
        return None

    @expose
    def wrong_result(self) -> int:
        return "three"  # pyright: ignore

    @expose
    def unspeakable(self) -> object:
        return "\ud800"

    @expose
    def thread_names(self) -> list[str]:
        return [threading.current_thread().name, threading.main_thread().name]

    @expose
    async def is_on_loop(self) -> bool:
        return asyncio.get_running_loop() is self.loop

    @expose
    def fail(self, kind: str) -> int:
        raise {
            "value": ValueError("bad value", 3),
            "runtime": RuntimeError("broken"),
            "key": KeyError("lost"),
            "timeout": TimeoutError("too slow"),
            "connection": ConnectionError("gone"),
            "not found": GraphNotFound("g1", 2),
            "not authorized": NotAuthorizedError("not yours"),
            "invalid": InvalidError("no", [Problem("nodes[0]", "is odd", "make it even")]),
            "conflict": ConflictError("already done"),
            "own": OwnTrouble("what", UUID(int=7)),
            "surrogate": ValueError("\ud800"),
            "secret": RuntimeError("cannot reach postgresql://me:pass@word@host/db with long random text"),
        }[kind]

    @expose
    def failing_add(self, a: int, b: int) -> int:
        self.calls += 1
        if self.calls < 3:
            raise RuntimeError(f"call {self.calls}")
        return a + b

    @expose(safe=True)
    def safe_failing_add(self, a: int, b: int) -> int:
        return self.failing_add(a, b)

    @expose(safe=True)
    def safe_bad_value(self) -> int:
        self.calls += 1
        raise ValueError(self.calls)

    @expose
    def slow(self) -> None:
        self.stopping.wait()


class Sick(Arithmetic):
    def health_check(self) -> str:
        raise RuntimeError("the database is away")


class BrokenStart(Arithmetic):
    async def startup(self) -> None:
        raise RuntimeError("no database")
