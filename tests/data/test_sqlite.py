from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.data import sqlite
from autogpt_server.data.sqlite import BusyHandler, WalLimit, check_version, connect, load_driver
from autogpt_server.errors import Unavailable

DRIVERS = ["pysqlite3", "autogpt_server.data.apsw_dbapi"]


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Any:
    if request.param == "pysqlite3":
        pytest.importorskip("pysqlite3")
    return load_driver((request.param,))


def wal_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def test_a_sqlite_that_can_corrupt_databases_is_refused():
    with pytest.raises(Unavailable, match=r"SQLite 3\.51\.2 in pysqlite3 .* 3\.51\.3 or newer"):
        check_version((3, 51, 2), "pysqlite3")
    check_version((3, 51, 3), "pysqlite3")


def test_a_missing_driver_is_passed_over_and_an_old_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "ancient_sqlite.py").write_text("sqlite_version_info = (3, 40, 1)")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert load_driver(("no_such_driver", DRIVERS[1])).__name__ == DRIVERS[1]
    with pytest.raises(Unavailable, match=r"SQLite 3\.40\.1 in ancient_sqlite"):
        load_driver(("ancient_sqlite", DRIVERS[1]))
    with pytest.raises(Unavailable, match="no SQLite driver"):
        load_driver(("no_such_driver",))


def test_every_connection_is_set_up_for_several_writers(driver: Any, tmp_path: Path):
    connections = [connect(tmp_path / "a.db", driver) for _ in range(2)]

    for connection in connections:
        for pragma, value in {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}.items():
            assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
        connection.close()


def test_a_blocked_statement_waits_in_short_steps_up_to_its_limit(driver: Any, tmp_path: Path):
    holder, waiter = connect(tmp_path / "a.db", driver), connect(tmp_path / "a.db", driver)
    holder.execute("BEGIN IMMEDIATE")

    waiter.set_busy_handler(BusyHandler(0.1))
    start = time.monotonic()
    with pytest.raises(driver.OperationalError) as locked:
        waiter.execute("BEGIN IMMEDIATE")
    assert locked.value.sqlite_errorcode == 5
    assert 0.1 <= time.monotonic() - start < 5

    waiter.set_busy_handler(BusyHandler(30))
    threading.Timer(0.1, holder.execute, ("COMMIT",)).start()
    waiter.execute("BEGIN IMMEDIATE")
    waiter.rollback()


def test_overlapping_readers_do_not_let_the_wal_grow_without_bound(driver: Any, tmp_path: Path):
    path, limit = tmp_path / "a.db", 1024 * 1024
    writer, readers = connect(path, driver), [connect(path, driver) for _ in range(2)]
    writer.execute("CREATE TABLE t (body BLOB)")
    wal_limit, longest = WalLimit(path, limit), 0
    stop = threading.Event()

    def read(connection: Any, offset: float) -> None:
        # The two take turns such that at every moment one of them has a snapshot.
        stop.wait(offset)
        while not stop.is_set():
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM t").fetchall()
            stop.wait(0.03)
            connection.execute("COMMIT")

    threads = [threading.Thread(target=read, args=(c, i * 0.015)) for i, c in enumerate(readers)]
    for thread in threads:
        thread.start()
    try:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("INSERT INTO t VALUES (zeroblob(20000))")
            writer.execute("COMMIT")
            longest = max(longest, wal_bytes(path))
            wal_limit.after_commit(writer)
            stop.wait(0.001)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert limit < longest < 4 * limit  # of about 30 MB written
    assert writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reader_that_never_ends_stops_writers_for_a_small_share_of_time(driver: Any, tmp_path: Path):
    path = tmp_path / "a.db"
    writer, reader = connect(path, driver), connect(path, driver)
    writer.execute("CREATE TABLE t (body BLOB)")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()
    wal_limit = WalLimit(path, 2**20)
    writer.execute("INSERT INTO t VALUES (zeroblob(2 * 1024 * 1024))")

    start, stopped = time.monotonic(), 0.0
    while time.monotonic() - start < 1:
        time.sleep(0.01)
        writer.execute("INSERT INTO t VALUES (1)")
        before = time.monotonic()
        wal_limit.after_commit(writer)
        stopped += time.monotonic() - before
    assert 0 < stopped < 0.3

    reader.execute("COMMIT")
    reader.close()
    wal_limit = WalLimit(path, 0)
    wal_limit.after_commit(writer)
    assert wal_bytes(path) == 0


def test_a_script_is_cut_into_statements(driver: Any):
    script = "-- one; really\nCREATE TABLE a (b TEXT DEFAULT ';\n;');INSERT INTO a\nVALUES (1);\n\n-- the end\n"

    statements = list(sqlite.split_statements(script, driver))

    assert [s.split(maxsplit=1)[0] for s in statements] == ["--", "INSERT", "--"]
    connection = driver.connect(":memory:", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (1,)


def test_the_drivers_agree_on_results_counts_and_errors(driver: Any, tmp_path: Path):
    connection = connect(tmp_path / "a.db", driver)
    cursor = connection.cursor()

    cursor.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    cursor.executemany("INSERT INTO t (b) VALUES (?)", [("x",), ("y",), (None,)])
    assert cursor.rowcount == 3
    cursor.execute("UPDATE t SET b = ? WHERE a < ?", ("z", 3))
    assert cursor.rowcount == 2
    cursor.execute("UPDATE t SET b = ? WHERE a = ?", ("z", 99))
    assert cursor.rowcount == 0
    cursor.execute("INSERT INTO t (b) VALUES (?) ON CONFLICT DO NOTHING RETURNING a", ("q",))
    assert (cursor.fetchall(), cursor.lastrowid) == ([(4,)], 4)
    cursor.execute("SELECT a, b AS c FROM t WHERE 0")
    assert ([column[0] for column in cursor.description], cursor.fetchone()) == (["a", "c"], None)
    cursor.execute("SELECT a FROM t ORDER BY a")
    assert (cursor.fetchmany(2), cursor.fetchone(), cursor.fetchall()) == ([(1,), (2,)], (3,), [(4,)])

    assert not connection.in_transaction
    connection.execute("BEGIN")
    connection.execute("DELETE FROM t")
    assert connection.in_transaction
    connection.rollback()
    connection.commit()
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (4,)

    with pytest.raises(driver.IntegrityError) as unique:
        connection.execute("INSERT INTO t VALUES (1, '')")
    assert unique.value.sqlite_errorcode & 0xFF == 19
    with pytest.raises(driver.OperationalError, match="no such table: missing"):
        connection.execute("SELECT * FROM missing")
    connection.close()
    with pytest.raises(driver.ProgrammingError, match=r"Cannot operate on a closed database\."):
        connection.execute("SELECT 1")


def test_the_standard_librarys_sqlite_is_never_loaded():
    code = (
        "import sys; import autogpt_server.data.migrations, autogpt_server.data.database as d; "
        "from pathlib import Path; from autogpt_server.data.urls import parse_database_url; "
        "d.Database(parse_database_url('file:/nowhere/a.db', Path('/'))); print('_sqlite3' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
