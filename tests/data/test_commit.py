"""Group commit: order is kept, one bad item fails alone, and a database that is away is waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from autogpt_server.data.commit import GroupCommitter, LeaseLost
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.errors import Unavailable


class Table:
    """A table of (owner, number); ``write`` refuses the numbers in ``bad``."""

    def __init__(self, database: Database) -> None:
        self.db, self.bad, self.batches, self.written = database, set[int](), list[int](), list[int]()
        self.hold = threading.Event()
        self.hold.set()
        with database.write() as c:
            c.execute("CREATE TABLE item (owner TEXT, number INTEGER)")

    def write(self, connection: Connection, items: list[tuple[str, int]]) -> list[int]:
        assert self.hold.wait(10)
        self.batches.append(len(items))
        self.written += [number for _, number in items]
        connection.execute(self.db.sql("INSERT INTO item VALUES (?,?)"), items)
        if refused := self.bad & {number for _, number in items}:
            raise ValueError(f"refused: {refused}")
        return [number * 10 for _, number in items]

    def rows(self) -> list[tuple[str, int]]:
        with self.db.read() as c:
            return [(row[0], row[1]) for row in c.execute("SELECT owner, number FROM item ORDER BY number")]

    def committer(self, database: Any = None, **more: Any) -> GroupCommitter[tuple[str, int], int]:
        return GroupCommitter(database or self.db, self.write, owner=lambda item: item[0], **{"patience": 5, **more})


async def test_everything_that_waits_is_written_in_one_transaction_in_order(database: Database) -> None:
    table = Table(database)
    committer = table.committer()
    table.hold.clear()
    first = committer.put(("a", 0))
    await asyncio.sleep(0)
    rest = [committer.put(("a", i)) for i in range(1, 101)]
    table.hold.set()
    assert await asyncio.gather(first, *rest) == [i * 10 for i in range(101)]
    assert sum(table.batches) == 101
    assert len(table.batches) <= 2
    assert table.written == list(range(101))
    assert table.rows() == [("a", i) for i in range(101)]
    await committer.close()
    with pytest.raises(Unavailable):
        await committer.put(("a", 200))


async def test_one_bad_item_fails_its_owner_and_nobody_else(database: Database) -> None:
    table = Table(database)
    table.bad = {37}
    committer = table.committer()
    table.hold.clear()
    futures = [committer.put((f"owner {i % 10}", i)) for i in range(100)]
    table.hold.set()
    results = await asyncio.gather(*futures, return_exceptions=True)
    failed = [i for i, result in enumerate(results) if isinstance(result, ValueError)]
    assert 37 in failed
    assert {i % 10 for i in failed} == {7}
    stored = {number for _, number in table.rows()}
    assert stored == set(range(100)) - set(failed)
    await committer.close()


class Flaky:
    """A database that is away for its first calls, or loses the answer to a commit."""

    def __init__(self, database: Database, away: int) -> None:
        self.database, self.away, self.calls = database, away, 0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.calls += 1
        if self.calls <= self.away:
            raise Unavailable("away")
        with self.database.write() as connection:
            yield connection


async def test_a_database_that_is_away_for_a_moment_is_waited_for(database: Database) -> None:
    table, flaky = Table(database), Flaky(database, away=3)
    committer = table.committer(flaky)
    assert await committer.put(("a", 1)) == 10
    assert flaky.calls == 4
    await committer.close()


async def test_patience_ends_and_the_thread_goes_on(database: Database) -> None:
    table, flaky = Table(database), Flaky(database, away=1)
    committer = table.committer(flaky, patience=0)
    with pytest.raises(Unavailable):
        await committer.put(("a", 1))
    assert await committer.put(("a", 2)) == 20
    await committer.close()


async def test_a_lost_lease_fails_everything_and_writes_nothing_more(database: Database) -> None:
    table = Table(database)
    lost = asyncio.Event()

    def refuse(connection: Connection, items: list[tuple[str, int]]) -> list[int]:
        table.write(connection, items)
        raise LeaseLost("lease")

    committer = GroupCommitter(database, refuse, owner=lambda item: item[0], patience=None, on_lease_lost=lost.set)
    with pytest.raises(LeaseLost):
        await committer.put(("a", 1))
    await asyncio.wait_for(lost.wait(), 5)
    with pytest.raises(Unavailable):
        await committer.put(("a", 2))
    assert table.rows() == []
    await committer.close()
