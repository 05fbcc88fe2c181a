"""The SQLite that this server uses: which library, what every connection is set to, and a bounded WAL.

Python's own ``sqlite3`` is never used: with several processes writing, versions before 3.51.3 can corrupt a
database in WAL mode.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autogpt_server.errors import Unavailable

#: The oldest SQLite without the WAL-reset bug.
OLDEST = (3, 51, 3)
#: Seconds between two tries of a statement that another connection blocks.  Constant, because whoever waits
#: longer after every failure hardly ever meets the short gap between two transactions of a busy writer.
_RETRY_SECONDS = 0.0005
#: Seconds that a statement waits for another connection, for example one that recovers the WAL after a crash.
BUSY_SECONDS = 10.0
#: Bytes of the WAL beyond which writers stop for readers to let it be written back.
WAL_LIMIT_BYTES = 64 * 1024 * 1024
#: Pages in the WAL after which SQLite writes it back at a commit.
_CHECKPOINT_PAGES = 1000
#: Seconds that such a stop lasts at most: a short one that hardly anybody notices, and, where the WAL has grown to
#: a multiple of the limit, one that outlasts two readers after each other of the longest kind that is allowed.
_SHORT_STOP_SECONDS, _LONG_STOP_SECONDS, _LONG_STOP_MULTIPLE = 0.1, 2.0, 4
#: Seconds that one try of a stop lasts.
_TRY_SECONDS = 0.02
#: After a stop that did not help writers go on for this many times its length.
_PAUSE_MULTIPLE = 9

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}",
)


def load_driver(names: tuple[str, ...] = ("pysqlite3", "autogpt_server.data.apsw_dbapi")) -> Any:
    """Import the first SQLite driver that is installed, as a DB-API module.

    Raises:
        Unavailable: None is installed, or its SQLite is too old.
    """
    for name in names:
        try:
            driver = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        check_version(driver.sqlite_version_info, name)
        return driver
    raise Unavailable("no SQLite driver is installed; install pysqlite3, or apsw where that does not exist")


def check_version(version: tuple[int, ...], driver: str) -> None:
    """Refuse a SQLite that can corrupt a database which several processes write."""
    if version < OLDEST:
        found, oldest = (".".join(map(str, v)) for v in (version, OLDEST))
        raise Unavailable(
            f"SQLite {found} in {driver} can corrupt a database that several processes write; "
            f"install a {driver} with SQLite {oldest} or newer"
        )


def split_statements(script: str, driver: Any) -> Iterator[str]:
    """Cut a script into its statements, which the drivers run one by one inside our transaction."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        # A semicolon can also stand in a string, a comment or a trigger.
        if driver.complete_statement(statement):
            yield statement
            statement = ""
    if statement:
        yield statement


class BusyHandler:
    """Makes a blocked statement wait in short even steps, up to ``seconds``."""

    def __init__(self, seconds: float = BUSY_SECONDS) -> None:
        self._seconds, self._since = seconds, 0.0

    def __call__(self, tries: int) -> bool:
        now = time.monotonic()
        if tries == 0:
            self._since = now
        if now - self._since >= self._seconds:
            return False
        time.sleep(_RETRY_SECONDS)
        return True


def connect(path: Path, driver: Any) -> Any:
    """Open a DB-API connection with everything set that every connection must have.  It begins no transaction
    by itself, and may move between threads that use it one after the other."""
    connection = driver.connect(str(path), isolation_level=None, check_same_thread=False)
    try:
        connection.set_busy_handler(BusyHandler())
        for pragma in _PRAGMAS:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


class WalLimit:
    """Keeps the WAL from growing without bound under readers that overlap all the time.

    SQLite starts the WAL anew only at a moment when nobody reads from it.  Beyond the limit the writer therefore
    keeps the write lock for a short while after its commit, until the readers have ended.
    """

    def __init__(self, path: Path, limit_bytes: int = WAL_LIMIT_BYTES) -> None:
        self._wal, self._limit_bytes = f"{path}-wal", limit_bytes
        #: When the next short and the next long stop may be.
        self._not_before = {_SHORT_STOP_SECONDS: 0.0, _LONG_STOP_SECONDS: 0.0}

    def after_commit(self, connection: Any) -> None:
        """Write the WAL back when it has grown too long.

        Call with the write lock held and a connection of ``connect`` that is outside a transaction.
        """
        size = self._size()
        if size <= self._limit_bytes:
            return
        long = size > self._limit_bytes * _LONG_STOP_MULTIPLE
        seconds = _LONG_STOP_SECONDS if long else _SHORT_STOP_SECONDS
        if time.monotonic() >= self._not_before[seconds] and not self._write_back(connection, seconds):
            self._not_before[seconds] = time.monotonic() + seconds * _PAUSE_MULTIPLE

    def _write_back(self, connection: Any, seconds: float) -> bool:
        # Many tries instead of one: a try goes on waiting for the readers of an old state even after newer readers,
        # which are in nobody's way, have taken their place.  And no pause between them: a try keeps out the writers
        # that do not know of the file lock, and what they wrote in between would have to be written back as well.
        end = time.monotonic() + seconds
        connection.set_busy_handler(BusyHandler(_TRY_SECONDS))
        try:
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
                if time.monotonic() > end:
                    return False
            return True
        finally:
            connection.set_busy_handler(BusyHandler())

    def _size(self) -> int:
        try:
            return os.stat(self._wal).st_size
        except FileNotFoundError:
            return 0
