from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from autogpt_server.data import database as database_module
from autogpt_server.data import sqlite
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.file_lock import FileLock
from autogpt_server.data.migrations import migrate
from autogpt_server.data.urls import parse_database_url
from autogpt_server.errors import Unavailable
from autogpt_server.settings import Settings
from tests.make_settings import make_settings
from tests.postgres_server import PostgresServer


@pytest.fixture
def table(database: Database) -> Database:
    with database.write() as c:
        c.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    return database


def insert(database: Database, connection: Connection, *values: str) -> None:
    connection.execute(database.sql("INSERT INTO t (a, b) VALUES (?, ?)"), list(enumerate(values)))


def values(database: Database) -> list[str]:
    with database.read() as c:
        return list(c.execute(database.sql("SELECT b FROM t ORDER BY a"), ()).scalars())


def test_a_write_is_there_after_its_block_and_not_before(table: Database):
    with table.write() as c:
        insert(table, c, "x", "y")
        assert values(table) == []

    assert values(table) == ["x", "y"]


def test_an_error_undoes_the_whole_block(table: Database):
    with pytest.raises(ZeroDivisionError):
        with table.write() as c:
            insert(table, c, "x")
            raise ZeroDivisionError

    assert values(table) == []
    with table.write() as c:
        insert(table, c, "again")
    assert values(table) == ["again"]


def test_a_broken_rule_of_the_schema_is_no_outage(table: Database):
    with pytest.raises(table.driver.IntegrityError):
        with table.write() as c:
            c.execute(table.sql("INSERT INTO t (a) VALUES (?), (?)"), (1, 1))

    assert values(table) == []


def test_a_mistake_in_sql_is_no_outage(database: Database):
    with pytest.raises(Exception, match="nowhere") as mistake:
        with database.read() as c:
            c.execute(database.sql("SELECT * FROM nowhere WHERE 1 = ?"), (1,))

    assert not isinstance(mistake.value, Unavailable)


def test_each_statement_of_a_read_sees_what_was_committed_meanwhile(table: Database):
    with table.read() as c:
        assert c.execute("SELECT count(*) FROM t").scalar_one() == 0
        with table.write() as writer:
            insert(table, writer, "x")
        assert c.execute("SELECT count(*) FROM t").scalar_one() == 1


def test_placeholders_survive_quotes_and_percent_signs(table: Database):
    text = """SELECT '?' || '100%' || ? || 'it''s ?' || (? % 7) AS "a?b%" """

    with table.read() as c:
        result = c.execute(table.sql(text), ("-", 10))

    assert (result.columns, result.one()) == (["a?b%"], ("?100%-it's ?3",))


def test_many_rows_travel_in_one_call_and_are_counted(table: Database):
    with table.write() as c:
        insert(table, c, *("x" for _ in range(1000)))
        changed = c.execute(table.sql("UPDATE t SET b = ? WHERE a < ?"), ("y", 600)).rowcount

    assert changed == 600
    assert values(table).count("y") == 600


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_times_come_back_as_they_were_stored(database: Database, moment: datetime):
    stored = {"sqlite": "BIGINT", "postgresql": "TIMESTAMP(3)"}[database.provider]
    with database.write() as c:
        c.execute(f"CREATE TABLE times (at {stored})")
        c.execute(database.sql("INSERT INTO times VALUES (?)"), (database.to_column(moment),))
    with database.read() as c:
        found = database.from_column(c.execute("SELECT at FROM times").scalar_one())

    assert found == moment
    assert found.tzinfo is UTC


def test_times_are_cut_to_the_millisecond_and_need_a_zone(database: Database):
    moment = datetime(2026, 2, 3, 4, 5, 6, 789_999, tzinfo=UTC)

    assert database.from_column(database.to_column(moment)) == moment.replace(microsecond=789_000)
    assert database.to_column(None) is None
    assert database.from_column(None) is None
    with pytest.raises(ValueError, match="without a zone"):
        database.to_column(moment.replace(tzinfo=None))


def test_threads_write_one_after_the_other_and_lose_nothing(table: Database):
    with table.write() as c:
        insert(table, c, "0")

    def add() -> None:
        for _ in range(25):
            with table.write() as c:
                # Only safe because of the lock: PostgreSQL locks the row, SQLite the database.
                locked = "" if table.provider == "sqlite" else " FOR UPDATE"
                count = int(c.execute(f"SELECT b FROM t WHERE a = 0{locked}").scalar_one())
                c.execute(table.sql("UPDATE t SET b = ? WHERE a = 0"), (str(count + 1),))

    threads = [threading.Thread(target=add) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert values(table) == ["300"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_to_make_its_own(database: Database):
    child = os.fork()
    if child == 0:
        try:
            with database.read():
                pass
        except RuntimeError:
            os._exit(42)
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


# SQLite alone


@pytest.fixture(params=["pysqlite3", "autogpt_server.data.apsw_dbapi"])
def each_driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every SQLite connection of the test go over one driver."""
    if request.param == "pysqlite3":
        pytest.importorskip("pysqlite3")
    driver = sqlite.load_driver((request.param,))
    monkeypatch.setattr(sqlite, "load_driver", lambda: driver)
    return driver


def test_pooled_connections_are_set_up_also_after_one_was_replaced(each_driver: Any, sqlite_database: Database):
    for _ in range(2):
        with sqlite_database.read() as first, sqlite_database.read() as second:
            for connection in (first, second):
                pragmas = ("journal_mode", "synchronous", "foreign_keys")
                assert [connection.execute(f"PRAGMA {p}").scalar_one() for p in pragmas] == ["wal", 2, 1]
            assert isinstance(first.driver_connection, each_driver.Connection)
        sqlite_database.close()


def test_both_drivers_store_the_same(each_driver: Any, sqlite_database: Database):
    with sqlite_database.write() as c:
        c.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        insert(sqlite_database, c, "x", "y")
        returned = c.execute("UPDATE t SET b = ? WHERE a = ? RETURNING b", ("z", 1)).scalar()
        assert returned == "z"
        nothing = c.execute("UPDATE t SET b = ? WHERE a = ? RETURNING b", ("z", 9)).scalar()
        assert nothing is None
    with pytest.raises(sqlite_database.driver.IntegrityError):
        with sqlite_database.write() as c:
            insert(sqlite_database, c, "x")

    assert values(sqlite_database) == ["x", "z"]


def test_foreign_keys_are_held(each_driver: Any, sqlite_database: Database):
    with pytest.raises(sqlite_database.driver.IntegrityError, match="FOREIGN KEY"):
        with sqlite_database.write() as c:
            c.execute(
                'INSERT INTO "AgentGraph" ("id", "version", "name", "userId", "updatedAt") VALUES (?, 1, ?, ?, 0)',
                ("g", "g", "nobody"),
            )


def test_a_database_locked_too_long_is_an_outage(
    each_driver: Any, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
):
    assert sqlite_database.url.path is not None
    other = sqlite.connect(sqlite_database.url.path, each_driver)
    monkeypatch.setattr(sqlite.BusyHandler.__init__, "__defaults__", (0.05,))
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable, match="locked"):
        with sqlite_database.write():
            pass
    other.execute("COMMIT")
    with sqlite_database.write():
        pass


def test_a_writer_that_never_ends_is_an_outage_for_the_others(
    sqlite_database: Database, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    other = Database.from_settings(sqlite_settings)
    monkeypatch.setattr(database_module, "LOCK_SECONDS", 0.05)

    with other.write():
        with pytest.raises(Unavailable, match="another process"):
            with sqlite_database.write():
                pass
        with pytest.raises(Unavailable, match="another thread"):
            with other.write():
                pass

    with sqlite_database.write():
        pass
    other.close()


def test_a_missing_folder_is_an_outage(tmp_path: Path):
    database = Database(parse_database_url("file:missing/a.db", tmp_path))

    with pytest.raises(Unavailable, match="unable to open"):
        with database.read():
            pass


# PostgreSQL alone


def test_a_restart_of_postgresql_is_an_outage_once_at_most(postgresql_settings: Settings):
    database = Database.from_settings(postgresql_settings)
    with database.read() as c:
        killed = c.execute("SELECT pg_backend_pid()").scalar_one()
    with psycopg.connect(database.url.libpq, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (killed,))

    # Between two uses a lost connection is not noticed at all.
    with database.write() as c:
        current = c.execute("SELECT pg_backend_pid()").scalar_one()
        assert current != killed
    # Within a transaction it is.
    with pytest.raises(Unavailable, match="terminating connection"):
        with database.write() as c:
            with psycopg.connect(database.url.libpq, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s, 5000)", (current,))
            c.execute("SELECT 1")
    with database.write() as c:
        assert c.execute("SELECT 1").scalar_one() == 1
    database.close()


def test_a_writer_that_stands_still_is_undone_by_postgresql(postgresql_settings: Settings):
    database = Database.from_settings(postgresql_settings)
    with database.read() as c:
        assert c.execute("SHOW idle_in_transaction_session_timeout").scalar_one() == "10s"
    with pytest.raises(Unavailable, match="idle"):
        with database.write() as c:
            c.execute("SET LOCAL idle_in_transaction_session_timeout = 50")
            with psycopg.connect(database.url.libpq, autocommit=True) as other:
                pid = c.driver_connection.info.backend_pid
                alive = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
                while other.execute(alive, (pid,)).fetchone() is not None:
                    time.sleep(0.01)
            c.execute("SELECT 1")
    with database.write() as c:
        assert c.execute("SELECT 1").scalar_one() == 1
    database.close()


def test_a_server_that_is_not_there_is_an_outage(tmp_path: Path):
    database = Database(parse_database_url("postgresql://me:secret@127.0.0.1:1/d", tmp_path))

    with pytest.raises(Unavailable) as gone:
        with database.read():
            pass
    assert "secret" not in str(gone.value)


def test_a_server_that_goes_while_it_is_first_asked_is_an_outage(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        threads.submit(_accept_then_hang_up, listener)
        port = listener.getsockname()[1]
        url = f"postgresql://somebody@127.0.0.1:{port}/any?sslmode=disable&gssencmode=disable"
        database = Database(parse_database_url(url, tmp_path))
        with pytest.raises(Unavailable, match="does not answer"), database.read():
            pass
        database.close()


def _accept_then_hang_up(listener: socket.socket) -> None:
    """Be a PostgreSQL server as far as the end of the greeting, and go at the first question."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        # "Authenticated", and "ready for a question".
        connection.sendall(b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I")
        connection.recv(4096)


def test_a_schema_keeps_two_servers_apart(tmp_path: Path, postgres_server: PostgresServer):
    with postgres_server.database() as url:
        settings = {name: make_settings(tmp_path, f"{url}?schema={name}") for name in ("one", "Two")}
        for each in settings.values():
            migrate(each)
        one, two = (Database.from_settings(each) for each in settings.values())
        with one.write() as c:
            c.execute("""INSERT INTO "User" ("id", "email") VALUES ('1', 'a@b.c')""")

        with two.read() as c:
            assert c.execute('SELECT count(*) FROM "User"').scalar_one() == 0
        with psycopg.connect(url) as public, pytest.raises(psycopg.errors.UndefinedTable):
            public.execute('SELECT count(*) FROM "User"')
        one.close()
        two.close()


def test_a_commit_that_need_not_wait_for_the_disk_leaves_the_next_one_durable(database: Database):
    with database.write(durable=False) as c:
        c.execute(
            database.sql(
                'INSERT INTO "Executor" ("id","epoch","beat","host","pid","startedAt") VALUES (\'a\',1,0,\'h\',1,?)'
            ),
            (database.to_column(datetime.now(UTC)),),
        )
        loose = _durability(database, c)
    with pytest.raises(ZeroDivisionError), database.write(durable=False) as c:
        raise ZeroDivisionError
    with database.write() as c:
        strict = _durability(database, c)
        assert c.execute('SELECT "id" FROM "Executor"').scalars() == ["a"]
    assert (loose, strict) == {"sqlite": (1, 2), "postgresql": (True, False)}[database.provider]


def _durability(database: Database, c: Connection) -> object:
    """SQLite's level of syncing; on PostgreSQL whether this transaction has a setting of its own."""
    if database.provider == "sqlite":
        return c.execute("PRAGMA synchronous").scalar_one()
    text = "SELECT source = 'session' AND setting = 'off' FROM pg_settings WHERE name = 'synchronous_commit'"
    return c.execute(text).scalar_one()


@pytest.mark.parametrize("holds_file_lock", [True, False])
def test_whether_it_takes_writes_is_told_without_the_long_wait_of_a_writer(
    sqlite_database: Database, holds_file_lock: bool
):
    path = sqlite_database.url.path
    assert path is not None
    assert sqlite_database.can_write(0.05)
    with contextlib.ExitStack() as holder:
        if holds_file_lock:
            holder.enter_context(FileLock(path.with_name(f"{path.name}.lock")).hold(5))
        else:
            other = holder.enter_context(contextlib.closing(sqlite.connect(path, sqlite.load_driver())))
            other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert not sqlite_database.can_write(0.05)
        assert time.monotonic() - began < database_module.LOCK_SECONDS / 2
    # A no is no failure of the database, and the next writer waits as long as ever.
    assert sqlite_database.write_error is None
    other = sqlite.connect(path, sqlite.load_driver())
    other.execute("BEGIN IMMEDIATE")
    freeing = threading.Timer(0.3, other.execute, ("ROLLBACK",))
    freeing.start()
    with sqlite_database.write():
        pass
    freeing.join()
    other.close()


def test_a_database_that_is_away_takes_no_writes(tmp_path: Path):
    database = Database(parse_database_url("postgresql://nobody@127.0.0.1:1/none", tmp_path))
    assert not database.can_write(1)
    database.close()
