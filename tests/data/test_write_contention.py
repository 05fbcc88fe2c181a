"""Everything that writes to one SQLite file at the same time: Python processes that take the file lock, the query
engine, which cannot, readers that hold long snapshots, and a writer that is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from prisma import Prisma

from autogpt_server.data import sqlite
from autogpt_server.data.database import Database
from autogpt_server.data.prisma_client import connect
from autogpt_server.data.urls import parse_database_url
from autogpt_server.settings import Settings
from tests.prisma_fixtures import running_engine

SPAWN = multiprocessing.get_context("spawn")
WRITERS, COMMITS, ROWS = 3, 30, 100
#: Bytes; small, so that the test reaches it often.
WAL_LIMIT = 4 * 1024 * 1024
INSERT = "INSERT INTO contention (writer, number, body) VALUES (?, ?, zeroblob(2000))"


def open_database(path: Path) -> Database:
    sqlite.WalLimit.__init__.__defaults__ = (WAL_LIMIT,)
    return Database(parse_database_url(f"file:{path}", path.parent))


def write(path: Path, writer: int) -> None:
    """Commit, and every tenth time change one's mind."""
    database = open_database(path)
    for commit in range(COMMITS):
        rows = [(writer, commit * ROWS + i) for i in range(ROWS)]
        if commit % 10 == 0:
            try:
                with database.write() as c:
                    c.execute(INSERT, rows)
                    raise InterruptedError
            except InterruptedError:
                pass
        with database.write() as c:
            c.execute(INSERT, rows)
    database.close()


def write_until_killed(path: Path, started: Event) -> None:
    database = open_database(path)
    for commit in range(10**6):
        with database.write() as c:
            c.execute(INSERT, [(99, commit * ROWS + i) for i in range(ROWS)])
        if commit == 5:
            started.set()


def read_snapshots(path: Path, stop: threading.Event, offset: float, broken: list[int], sizes: list[int]) -> None:
    """Hold one snapshot after the other; each must show whole commits and not change."""
    connection = sqlite.connect(path, sqlite.load_driver())
    stop.wait(offset)
    while not stop.is_set():
        connection.execute("BEGIN")
        first = connection.execute("SELECT count(*) FROM contention").fetchone()[0]
        stop.wait(0.2)
        second = connection.execute("SELECT count(*) FROM contention").fetchone()[0]
        connection.execute("COMMIT")
        sizes.append(path.with_name(f"{path.name}-wal").stat().st_size)
        if first % ROWS or first != second:
            broken.append(first)
    connection.close()


@contextmanager
def readers(path: Path) -> Iterator[tuple[list[int], list[int]]]:
    """Two readers whose snapshots overlap at every moment."""
    stop, broken, sizes = threading.Event(), list[int](), list[int]()
    threads = [threading.Thread(target=read_snapshots, args=(path, stop, offset, broken, sizes)) for offset in (0, 0.1)]
    for thread in threads:
        thread.start()
    try:
        yield broken, sizes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


async def create_users(db: Prisma, stop: asyncio.Event) -> int:
    made = 0
    while not stop.is_set():
        await db.user.create({"id": f"user {made}", "email": f"{made}@example.org"})
        made += 1
    return made


@pytest.mark.timeout(120)
async def test_nothing_is_lost_or_torn_when_everybody_writes(sqlite_settings: Settings):
    path = sqlite_settings.data_dir / "database.db"
    database = open_database(path)
    with database.write() as c:
        c.execute("CREATE TABLE contention (writer INT, number INT, body BLOB, PRIMARY KEY (writer, number))")
    writers = [SPAWN.Process(target=write, args=(path, number)) for number in range(WRITERS)]
    started = SPAWN.Event()
    victim = SPAWN.Process(target=write_until_killed, args=(path, started))

    with running_engine(sqlite_settings), readers(path) as (broken, sizes):
        db, stop = await connect(sqlite_settings), asyncio.Event()
        creating = asyncio.create_task(create_users(db, stop))
        victim.start()
        assert await asyncio.to_thread(started.wait, 30)
        victim.kill()
        for process in writers:
            process.start()
        for process in (victim, *writers):
            await asyncio.to_thread(process.join)
        stop.set()
        users = await creating
        await db.disconnect()

    assert [process.exitcode for process in writers] == [0] * WRITERS
    with database.read() as c:
        counts = dict(c.execute("SELECT writer, count(*) FROM contention GROUP BY writer").all())
        assert c.execute("PRAGMA integrity_check").scalars() == ["ok"]
        assert c.execute('SELECT count(*) FROM "User"').scalar_one() == users
    killed = counts.pop(99)
    assert counts == dict.fromkeys(range(WRITERS), COMMITS * ROWS)
    assert killed >= 6 * ROWS
    assert killed % ROWS == 0
    assert users >= 5
    assert broken == []
    assert max(sizes) < 7 * WAL_LIMIT  # of 9 times the limit written
    database.close()
