"""Backing a database up while a server works on it: all rows as they were at one moment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from autogpt_server.data.backup.archive import Manifest, Part, writing
from autogpt_server.data.backup.tables import TABLES, columns_of, to_json
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.urls import DatabaseUrl, parse_database_url
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model import clock
from autogpt_server.settings import Settings

#: Rows that are read at once.
_MANY = 2_000


def back_up(settings: Settings, path: Path) -> Manifest:
    """Write a backup, read it again, and return what it holds.

    Writers go on meanwhile.  Of SQLite a copy is made first, which takes a moment and as much room as the database
    beside the file.

    Raises:
        Unavailable: The database is away.
        InvalidError: The folder is not there, or what was written cannot be read again.
        OSError: The file cannot be written.
    """
    if not path.parent.is_dir():
        problem = Problem(str(path.parent), "is no folder", "make it, or give another one")
        raise InvalidError("The backup cannot be written.", [problem])
    url = parse_database_url(settings.database_url, settings.data_dir)
    with _still(url, path) as (database, connection), writing(path) as writer:
        at = clock.now()
        parts: dict[str, Part] = {}
        for table in TABLES:
            columns = list(columns_of(database, connection, table))
            parts[table] = writer.table(table, columns, _rows(database, connection, table, columns))
        manifest = Manifest(at.isoformat(timespec="seconds"), url.provider, _migrations(connection), parts)
        writer.finish(manifest)
    return manifest


@contextlib.contextmanager
def _still(url: DatabaseUrl, path: Path) -> Generator[tuple[Database, Connection]]:
    """Give a connection on which all stays as it is."""
    if url.path is None:
        database = Database(url, pool_size=1)
        try:
            with database.read() as connection:
                connection.driver_connection.autocommit = False
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                try:
                    yield database, connection
                finally:
                    if not connection.driver_connection.closed:
                        connection.driver_connection.rollback()
        finally:
            database.close()
        return
    copy = path.with_name(f".{path.name}.{os.getpid()}.copy")
    try:
        # For nobody else's eyes from its beginning.
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        original = Database(url, pool_size=1)
        try:
            with original.read() as connection:
                connection.execute("VACUUM INTO ?", (str(copy),))
        finally:
            original.close()
        copied = Database(parse_database_url(f"file:{copy}", path.parent), pool_size=1)
        try:
            with copied.read() as connection:
                yield copied, connection
        finally:
            copied.close()
    finally:
        for left in (copy, *(copy.with_name(copy.name + end) for end in ("-wal", "-shm", ".lock"))):
            left.unlink(missing_ok=True)


def _rows(database: Database, c: Connection, table: str, columns: list[str]) -> Iterator[list[Any]]:
    names = ",".join(f'"{name}"' for name in columns)
    text = f'SELECT {names} FROM "{table}"'
    if database.provider == "postgresql":
        # By a cursor of the server: a million rows are not to be held at once.
        with c.driver_connection.cursor(name="backup") as cursor:
            cursor.itersize = _MANY
            cursor.execute(text)
            for row in cursor:
                yield [to_json(value) for value in row]
        return
    cursor = c.driver_connection.cursor()
    cursor.execute(text)
    while rows := cursor.fetchmany(_MANY):
        for row in rows:
            yield [to_json(value) for value in row]


def _migrations(c: Connection) -> list[str]:
    text = 'SELECT migration_name FROM "_prisma_migrations" WHERE finished_at IS NOT NULL ORDER BY migration_name'
    return c.execute(text).scalars()
