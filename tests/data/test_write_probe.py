"""Whether a database takes writes is remembered, and tried only where it did not."""

from __future__ import annotations

import threading
import time

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.write_probe import WriteProbe
from autogpt_server.errors import Unavailable


def fail_to_write(database: Database) -> None:
    with pytest.raises(Unavailable), database.write():
        raise Unavailable("the disk is full")


def written(database: Database) -> int:
    """Bytes of the write-ahead log so far."""
    if database.url.path is not None:
        return database.url.path.with_name(f"{database.url.path.name}-wal").stat().st_size
    with database.read() as c:
        return c.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").scalar_one()


def test_a_write_that_failed_is_remembered_until_one_succeeds(database: Database) -> None:
    assert database.write_error is None
    fail_to_write(database)
    assert database.write_error == "the disk is full"
    with database.write() as c:
        c.execute("SELECT 1")
    assert database.write_error is None


def test_the_probe_writes_and_leaves_nothing(database: Database) -> None:
    probe = WriteProbe(database)
    fail_to_write(database)
    before = written(database)
    assert probe.error() is None
    assert database.write_error is None
    assert written(database) > before
    with database.read() as c:
        assert c.execute('SELECT COUNT(*) FROM "User"').scalar_one() == 0


def test_a_database_that_takes_writes_is_not_probed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "write", None)
    assert WriteProbe(database).error() is None


def test_a_probe_that_waits_holds_no_other_look_up(sqlite_database: Database) -> None:
    probe = WriteProbe(sqlite_database)
    fail_to_write(sqlite_database)
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(probe.error()))
    with sqlite_database.write():
        asking.start()
        end = time.monotonic() + 20
        while not probe._is_probing.locked():  # pyright: ignore[reportPrivateUsage]
            assert time.monotonic() < end
            time.sleep(0.001)
        assert probe.error() == "the disk is full"
    asking.join(20)
    assert answers == [None]
