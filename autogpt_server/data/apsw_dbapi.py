"""A DB-API module over ``apsw``, as SQLAlchemy's SQLite dialect expects it, for platforms without ``pysqlite3``.

It holds what this server uses and no more: connections do not begin transactions by themselves, a query's rows
are read at once, and ``rowcount`` after ``executemany`` also counts rows that foreign keys changed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import apsw

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = 1
Binary = memoryview
sqlite_version = apsw.sqlite_lib_version()
sqlite_version_info = tuple(int(part) for part in sqlite_version.split("."))
complete_statement = apsw.complete


class Warning(Exception):  # noqa: A001 - the DB-API fixes the name
    pass


class Error(Exception):
    """``sqlite_errorcode`` is SQLite's extended result code, 0 where the error is not SQLite's own."""

    sqlite_errorcode = 0


class InterfaceError(Error):
    pass


class DatabaseError(Error):
    pass


class DataError(DatabaseError):
    pass


class OperationalError(DatabaseError):
    pass


class IntegrityError(DatabaseError):
    pass


class InternalError(DatabaseError):
    pass


class ProgrammingError(DatabaseError):
    pass


class NotSupportedError(DatabaseError):
    pass


_KINDS: tuple[tuple[type[Error], tuple[type[apsw.Error], ...]], ...] = (
    (IntegrityError, (apsw.ConstraintError, apsw.MismatchError)),
    (ProgrammingError, (apsw.BindingsError, apsw.RangeError, apsw.MisuseError, apsw.ThreadingViolationError)),
    (ProgrammingError, (apsw.ConnectionClosedError, apsw.CursorClosedError)),
    (DataError, (apsw.TooBigError,)),
    (InternalError, (apsw.InternalError, apsw.NotFoundError)),
    (DatabaseError, (apsw.CorruptError, apsw.NotADBError)),
)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except apsw.Error as error:
        kind = next((ours for ours, theirs in _KINDS if isinstance(error, theirs)), OperationalError)
        closed = isinstance(error, apsw.ConnectionClosedError | apsw.CursorClosedError)
        translated = kind("Cannot operate on a closed database." if closed else str(error))
        translated.sqlite_errorcode = getattr(error, "extendedresult", 0)
        raise translated from error


class Cursor:
    arraysize = 1

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        # The description of a query without rows can only be had before it is stepped.
        self._cursor.exec_trace = self._describe
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.rowcount = -1

    @property
    def lastrowid(self) -> int:
        return self._connection.last_insert_rowid()

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Cursor:
        with _translated():
            before = self._start()
            self._rows = iter(self._cursor.execute(sql, parameters or None).fetchall())
            changed = self._connection.total_changes() != before
        if self.description is None or changed:
            self.rowcount = self._connection.changes() if changed else 0
        return self

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any] | dict[str, Any]]) -> Cursor:
        with _translated():
            before = self._start()
            self._rows = iter(self._cursor.executemany(sql, parameters).fetchall())
            self.rowcount = self._connection.total_changes() - before
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        return list(islice(self._rows, size or self.arraysize))

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())
        self._cursor.close()

    def setinputsizes(self, sizes: Any) -> None:
        """Do nothing, as the DB-API allows."""

    def setoutputsize(self, size: Any, column: Any = None) -> None:
        """Do nothing, as the DB-API allows."""

    def _start(self) -> int:
        self._rows, self.description, self.rowcount = iter(()), None, -1
        return self._connection.total_changes()

    def _describe(self, cursor: Any, sql: str, bindings: Any) -> bool:
        columns = cursor.get_description()
        self.description = tuple((name, kind, None, None, None, None, None) for name, kind in columns) or None
        return True


class Connection:
    #: Always autocommit: whoever wants a transaction begins it.  Assigning has no effect.
    isolation_level: str | None = None

    def __init__(self, path: str) -> None:
        with _translated():
            self._connection: Any = apsw.Connection(path)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def cursor(self) -> Cursor:
        with _translated():
            return Cursor(self._connection)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> Cursor:
        return self.cursor().executemany(sql, parameters)

    def commit(self) -> None:
        if self._connection.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def interrupt(self) -> None:
        self._connection.interrupt()

    def create_function(self, name: str, count: int, function: Callable[..., Any], **flags: bool) -> None:
        self._connection.create_scalar_function(name, function, count, **flags)

    def set_busy_handler(self, handler: Callable[[int], bool] | None) -> None:
        self._connection.set_busy_handler(handler)


def connect(path: str, **_: Any) -> Connection:
    """Open a database file.  Further arguments are those of Python's own module and have no meaning here."""
    return Connection(path)
