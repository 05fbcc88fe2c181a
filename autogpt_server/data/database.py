"""Pooled connections for plain SQL, the same on SQLite and PostgreSQL.  What people name and edit goes through
Prisma instead; this is for what must be fast: accepting, claiming and recording executions."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, QueuePool, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from autogpt_server.data import sqlite
from autogpt_server.data.connection import Connection
from autogpt_server.data.file_lock import FileLock
from autogpt_server.data.urls import DatabaseUrl, parse_database_url
from autogpt_server.errors import Unavailable
from autogpt_server.model.clock import from_ms, to_ms
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import WRITE_FAILURES

#: Seconds that a writer waits for the other writers of a SQLite database.
LOCK_SECONDS = 30.0
#: Seconds that opening a connection to PostgreSQL may take.
_CONNECT_SECONDS = 10
#: Seconds after which PostgreSQL undoes the transaction of a process that stands still inside it: others wait for it.
_IDLE_SECONDS = 10
#: Seconds after which a connection is lost whose other end confirms nothing any more.
_NETWORK_SECONDS = 30
#: Seconds to wait for a free connection of the pool.
POOL_SECONDS = 30.0
#: SQLite's result codes that say "not now": busy, locked, read-only, I/O error, full, cannot open, protocol.
_SQLITE_OUTAGES = frozenset({5, 6, 8, 10, 13, 14, 15})
#: PostgreSQL's state of a connection that it ended because of ``_IDLE_SECONDS``.
_IDLE_IN_TRANSACTION = "25P03"
_QUOTED_OR_SPECIAL = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\?|%""")


class Database:
    """Short reads and exclusive writes on one database; safe for threads, made anew in every process.

    Args:
        url: Where it is.
        pool_size: Connections that stay open; as many again open when all are in use.
    """

    def __init__(self, url: DatabaseUrl, *, pool_size: int = 5) -> None:
        self.url = url
        self.provider = url.provider
        #: Why the last transaction that was to be written was not; None where it was.
        self.write_error: str | None = None
        self._process = os.getpid()
        pool: dict[str, Any] = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": POOL_SECONDS}
        self._engine = make_engine(url, pool)
        self._writer = None if url.path is None else _SqliteWriter(url.path)
        #: The driver's module, which has the classes of its errors.
        self.driver: Any = self._engine.dialect.loaded_dbapi

    @classmethod
    def from_settings(cls, settings: Settings) -> Database:
        return cls(parse_database_url(settings.database_url, settings.data_dir))

    def sql(self, text: str) -> str:
        """Turn ``?`` placeholders into those of the driver.  Always execute the result with parameters."""
        return text if self.provider == "sqlite" else _percent_placeholders(text)

    @property
    def among(self) -> str:
        """SQL after a column that is compared with every item of a ``to_list``: one text for any number of them."""
        return "IN (SELECT value FROM json_each(?))" if self.provider == "sqlite" else "= ANY(?)"

    def to_list(self, texts: Sequence[str]) -> str | list[str]:
        """Give texts as the one parameter that ``among`` takes."""
        return dumps(list(texts)) if self.provider == "sqlite" else list(texts)

    @staticmethod
    def to_recordset(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
        """Give rows as the one parameter that PostgreSQL's ``json_to_recordset`` takes apart by the names."""
        return dumps([dict(zip(names, row, strict=True)) for row in rows])

    def to_column(self, moment: datetime | None) -> int | datetime | None:
        """Give an aware time as this database stores it, to the millisecond, the rest cut off.

        Raises:
            ValueError: The time has no zone.
        """
        if moment is None:
            return None
        if moment.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        milliseconds = to_ms(moment)
        return milliseconds if self.provider == "sqlite" else from_ms(milliseconds).replace(tzinfo=None)

    def from_column(self, value: int | datetime | None) -> datetime | None:
        """Give a stored time as an aware one in UTC."""
        if value is None:
            return None
        return from_ms(value) if isinstance(value, int) else value.replace(tzinfo=UTC)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Lend a connection on which every statement sees what is committed when it starts.

        Keep it for less than a second: others may wait for it.

        Raises:
            Unavailable: The database is away.
        """
        self._check_process()
        with self._lend() as connection:
            driver_connection = connection.driver_connection
            if self._writer is None:
                driver_connection.autocommit = True
            try:
                yield connection
            finally:
                if self._writer is None and not driver_connection.closed:
                    driver_connection.autocommit = False

    @contextmanager
    def write(self, *, durable: bool = True, seconds: float | None = None) -> Generator[Connection]:
        """Lend a connection inside a transaction: committed at the end of the ``with`` block, undone by an error.

        On SQLite writers of all processes take turns, so keep the block short.

        Args:
            durable: Whether the commit waits for the disk.  Where it does not, a loss of power may undo it, together
                with everything after it; the next durable commit makes it so, too.  No crash of a process undoes it.
            seconds: How long to wait for other writers of a SQLite database, instead of ``LOCK_SECONDS``: for whoever
                has something better to do than to wait.

        Raises:
            Unavailable: The database is away, or was locked for too long.  When it went away during the commit,
                nobody knows whether that took effect; make what you write safe to repeat.
        """
        self._check_process()
        try:
            with self._transaction(durable, seconds) as connection:
                yield connection
        except Unavailable as error:
            if seconds is None and not is_deadlock(error):
                self.write_error = str(error)
                counting.add(WRITE_FAILURES, 1)
            raise
        self.write_error = None

    def can_write(self, seconds: float) -> bool:
        """Tell whether a transaction can begin; on SQLite, within so many seconds of waiting for others.

        Unlike a write that fails, a no is no error: somebody may only be busy.
        """
        self._check_process()
        with contextlib.suppress(Unavailable), self._transaction(True, seconds):
            return True
        return False

    @contextmanager
    def _transaction(self, durable: bool, seconds: float | None = None) -> Generator[Connection]:
        if self._writer is not None:
            limit = LOCK_SECONDS if seconds is None else seconds
            with self._writer.transaction(self._lend, durable=durable, seconds=limit) as connection:
                yield connection
            return
        with self._lend() as connection:
            # The driver begins by itself.
            if not durable:
                connection.execute("SET LOCAL synchronous_commit TO off")
            yield connection
            connection.driver_connection.commit()

    @contextmanager
    def _lend(self) -> Generator[Connection]:
        """Lend a pooled connection; what was not committed is undone when it comes back."""
        try:
            pooled = self._engine.raw_connection()
            try:
                yield Connection(pooled.driver_connection)
            except self.driver.Error as error:
                if self._engine.dialect.is_disconnect(error, pooled, None):
                    pooled.invalidate(error)
                raise
            finally:
                pooled.close()
        except self.driver.Error as error:
            if not self._is_outage(error):
                raise
            raise Unavailable(f"the database does not answer: {error}") from error
        except DBAPIError as error:
            # Of the questions that SQLAlchemy asks on an engine's first connection.
            if error.orig is None or not self._is_outage(error.orig):
                raise
            raise Unavailable(f"the database does not answer: {error.orig}") from error.orig
        except PoolTimeout as error:
            raise Unavailable("all connections to the database are in use") from error

    def _is_outage(self, error: BaseException) -> bool:
        code: int | None = getattr(error, "sqlite_errorcode", None)
        if code is None:
            is_kind = isinstance(error, self.driver.OperationalError | self.driver.InterfaceError)
            return is_kind or getattr(error, "sqlstate", None) == _IDLE_IN_TRANSACTION
        # The low byte of an extended result code is the plain one.
        return code & 0xFF in _SQLITE_OUTAGES

    def close(self) -> None:
        self._engine.dispose()
        if self._writer is not None:
            self._writer.lock.close()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("connections do not survive a fork: make a Database in each process")


class _SqliteWriter:
    """Lets one transaction write at a time: threads of this process first, then processes."""

    def __init__(self, path: Path) -> None:
        self.lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._wal_limit = sqlite.WalLimit(path)
        self._turn = threading.Lock()

    @contextmanager
    def transaction(
        self, lend: Callable[[], AbstractContextManager[Connection]], *, durable: bool, seconds: float
    ) -> Generator[Connection]:
        if not self._turn.acquire(timeout=seconds):
            raise Unavailable(f"another thread has been writing for {seconds:g} s")
        try:
            # The connection comes before the lock, so that nobody holds that while the pool is empty; and after the
            # turn, so that waiting writers do not empty the pool.
            with lend() as connection, self.lock.hold(seconds), _syncing(connection, durable):
                driver_connection = connection.driver_connection
                # Still waits for whoever cannot take the file lock, such as the query engine.
                with _waiting(connection, seconds):
                    driver_connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    driver_connection.commit()
                except BaseException:
                    driver_connection.rollback()
                    raise
                self._wal_limit.after_commit(driver_connection)
        finally:
            self._turn.release()


@contextmanager
def _syncing(connection: Connection, durable: bool) -> Generator[None]:
    if durable:
        yield
        return
    driver_connection = connection.driver_connection
    driver_connection.execute("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        driver_connection.execute("PRAGMA synchronous=FULL")


@contextmanager
def _waiting(connection: Connection, seconds: float) -> Generator[None]:
    if seconds == LOCK_SECONDS:
        yield
        return
    connection.driver_connection.set_busy_handler(sqlite.BusyHandler(seconds))
    try:
        yield
    finally:
        connection.driver_connection.set_busy_handler(sqlite.BusyHandler())


def make_engine(url: DatabaseUrl, pool: dict[str, Any]) -> Engine:
    """Make an engine whose connections are set as all of ours are.

    Args:
        url: Where the database is.
        pool: SQLAlchemy's arguments for the pool.
    """
    return _postgresql_engine(url, pool) if url.path is None else _sqlite_engine(url.path, pool)


def _sqlite_engine(path: Path, pool: dict[str, Any]) -> Engine:
    driver = sqlite.load_driver()
    return create_engine(
        "sqlite://", module=driver, creator=lambda: sqlite.connect(path, driver), poolclass=QueuePool, **pool
    )


def _postgresql_engine(url: DatabaseUrl, pool: dict[str, Any]) -> Engine:
    arguments: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": _NETWORK_SECONDS * 1000}
    options = [] if url.search_path is None else [f"-c search_path={url.search_path}"]
    if url.prepared:
        options.append(f"-c idle_in_transaction_session_timeout={_IDLE_SECONDS}s")
    else:
        # The pooler's sessions are not ours.
        arguments["prepare_threshold"] = None
    if options:
        arguments["options"] = " ".join(options)
    return create_engine(url.sqlalchemy, connect_args=arguments, pool_pre_ping=True, **pool)


@lru_cache(maxsize=1024)
def _percent_placeholders(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        found = match.group()
        return "%s" if found == "?" else found.replace("%", "%%")

    return _QUOTED_OR_SPECIAL.sub(replace, text)


def is_deadlock(error: Unavailable) -> bool:
    """Tell whether PostgreSQL broke a transaction off because it and another waited for each other: try it again."""
    return getattr(error.__cause__, "sqlstate", None) == "40P01"
