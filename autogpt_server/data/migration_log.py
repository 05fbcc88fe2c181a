"""Connections that migrate: plain SQL over the driver, and Prisma Migrate's own record of what was applied.

SQLAlchemy is left out, because every start asks here whether anything is to be done.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from autogpt_server.data import sqlite
from autogpt_server.data.file_lock import FileLock
from autogpt_server.data.migration_files import Migration
from autogpt_server.data.urls import DatabaseUrl
from autogpt_server.errors import InvalidError, Problem, Unavailable

#: Seconds that a migration waits for another process that migrates or writes.
WAIT_SECONDS = 30.0
#: "autogpt" in ASCII: the key of PostgreSQL's advisory lock around migrations.
_ADVISORY_LOCK = int.from_bytes(b"autogpt", "big")

_INSERT = """
INSERT INTO "_prisma_migrations" ("id","checksum","migration_name","started_at","finished_at","applied_steps_count")
VALUES ({0},{0},{0},{0},{0},1)
"""
_LIST = """
SELECT "migration_name", "checksum", "finished_at" IS NOT NULL FROM "_prisma_migrations"
WHERE "rolled_back_at" IS NULL ORDER BY "migration_name"
"""
# As Prisma keeps them: what was undone stays recorded.
_UNDO = (
    'UPDATE "_prisma_migrations" SET "rolled_back_at" = {0} WHERE "migration_name" = {0} AND "rolled_back_at" IS NULL'
)


@dataclass(frozen=True)
class Applied:
    """A recorded migration; ``finished`` is False where another tool's attempt failed half-way."""

    name: str
    checksum: str
    finished: bool


class MigrationLog(Protocol):
    """One open connection that migrates."""

    def applied(self) -> list[Applied]:
        """List what is recorded as applied, oldest first."""
        ...

    def transaction(self) -> Any:
        """Keep all others from migrating for a ``with`` block, and undo everything in it after an error."""
        ...

    def apply(self, migration: Migration) -> None: ...

    def undo(self, migration: Migration) -> None: ...

    def close(self) -> None: ...


def open_log(url: DatabaseUrl) -> MigrationLog:
    """Connect to the database; a SQLite file and its folder are made where they are missing.

    Raises:
        Unavailable: It does not answer.
        InvalidError: The file is no database, or damaged.
    """
    return SqliteLog(url) if url.provider == "sqlite" else PostgresqlLog(url)


class SqliteLog:
    def __init__(self, url: DatabaseUrl) -> None:
        assert url.path is not None
        self._driver = sqlite.load_driver()
        try:
            url.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(url.path.with_name(f"{url.path.name}.lock"))
            # Turning WAL on is the one thing that SQLite does not wait for by itself.
            with self._lock.hold(WAIT_SECONDS):
                self._connection = sqlite.connect(url.path, self._driver)
            self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except (OSError, self._driver.OperationalError) as error:
            raise Unavailable(f"the database {url.path} cannot be opened: {error}") from error
        except self._driver.DatabaseError as error:
            # Waiting does not mend what is no database, or a damaged one.
            fix = "restore the file from a backup, or name another one by DATABASE_URL"
            raise InvalidError("The database cannot be used.", [Problem(str(url.path), str(error), fix)]) from error

    def applied(self) -> list[Applied]:
        known = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_prisma_migrations'").fetchall()
        rows: list[Any] = self._connection.execute(_LIST).fetchall() if known else []
        return [Applied(name, checksum, bool(finished)) for name, checksum, finished in rows]

    @contextmanager
    def transaction(self) -> Generator[None]:
        # Prisma changes a table by copying it and dropping the old one, which with foreign keys on would delete
        # the rows that refer to it.  The switch has no effect inside a transaction.
        self._connection.execute("PRAGMA foreign_keys=OFF")
        try:
            with self._lock.hold(WAIT_SECONDS):
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._connection.rollback()
                    raise
        finally:
            self._connection.execute("PRAGMA foreign_keys=ON")

    def apply(self, migration: Migration) -> None:
        self._connection.execute("""
            CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
                "id" TEXT PRIMARY KEY NOT NULL,
                "checksum" TEXT NOT NULL,
                "finished_at" DATETIME,
                "migration_name" TEXT NOT NULL,
                "logs" TEXT,
                "rolled_back_at" DATETIME,
                "started_at" DATETIME NOT NULL DEFAULT current_timestamp,
                "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0
            )""")
        started = _milliseconds()
        self._run(migration.up)
        record = (str(uuid.uuid4()), migration.checksum, migration.name, started, _milliseconds())
        self._connection.execute(_INSERT.format("?"), record)

    def undo(self, migration: Migration) -> None:
        self._run(migration.down)
        self._connection.execute(_UNDO.format("?"), (_milliseconds(), migration.name))

    def close(self) -> None:
        self._connection.close()
        self._lock.close()

    def _run(self, script: str) -> None:
        for statement in sqlite.split_statements(script, self._driver):
            self._connection.execute(statement)
        broken = self._connection.execute("PRAGMA foreign_key_check").fetchall()
        if broken:
            tables = ", ".join(sorted({f"{row[0]} -> {row[2]}" for row in broken}))
            raise self._driver.IntegrityError(f"{len(broken)} rows would refer to nothing: {tables}")


class PostgresqlLog:
    def __init__(self, url: DatabaseUrl) -> None:
        import psycopg  # a SQLite server never pays for it

        self._schema = url.quoted_schema
        try:
            self._connection = psycopg.connect(url.libpq, autocommit=True, connect_timeout=10, **url.schema_arguments)
        except psycopg.OperationalError as error:
            raise Unavailable(f"the database does not answer: {error}") from error

    def applied(self) -> list[Applied]:
        known = self._connection.execute("SELECT to_regclass('_prisma_migrations')").fetchone()
        rows = self._connection.execute(_LIST).fetchall() if known and known[0] else []
        return [Applied(*row) for row in rows]

    @contextmanager
    def transaction(self) -> Generator[None]:
        # The lock is taken before the transaction begins: inside one, PostgreSQL could still answer from its memory
        # that a table is missing which the holder before us has just made.
        self._connection.execute(f"SET lock_timeout = '{WAIT_SECONDS:g}s'".encode())
        self._connection.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        try:
            with self._connection.transaction():
                yield
        finally:
            if not self._connection.closed:
                self._connection.execute("SELECT pg_advisory_unlock(%s)", (_ADVISORY_LOCK,))

    def apply(self, migration: Migration) -> None:
        if self._schema is not None:
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}".encode())
        self._connection.execute("""
            CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
                "id" VARCHAR(36) PRIMARY KEY NOT NULL,
                "checksum" VARCHAR(64) NOT NULL,
                "finished_at" TIMESTAMPTZ,
                "migration_name" VARCHAR(255) NOT NULL,
                "logs" TEXT,
                "rolled_back_at" TIMESTAMPTZ,
                "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
                "applied_steps_count" INTEGER NOT NULL DEFAULT 0
            )""")
        started = datetime.now(UTC)
        self._connection.execute(migration.up.encode())
        record = (str(uuid.uuid4()), migration.checksum, migration.name, started, datetime.now(UTC))
        self._connection.execute(_INSERT.format("%s").encode(), record)

    def undo(self, migration: Migration) -> None:
        self._connection.execute(migration.down.encode())
        self._connection.execute(_UNDO.format("%s").encode(), (datetime.now(UTC), migration.name))

    def close(self) -> None:
        self._connection.close()


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
