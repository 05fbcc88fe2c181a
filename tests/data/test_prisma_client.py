from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prisma import Prisma
from prisma.errors import ClientNotRegisteredError
from prisma_fixtures import running_engine, settings_for

from autogpt_server.data.prisma_client import connect
from autogpt_server.data.query_engine import node_path, socket_path
from autogpt_server.errors import Unavailable
from autogpt_server.model.ids import new_id
from autogpt_server.settings import Settings

OK = b'{"data": {"result": {"_count": {"_all": 7}}}}'
LAUNCHER = Path(__file__).parent.parent.parent / "engine" / "query-engine"


async def add_user(db: Prisma) -> str:
    user_id = new_id()
    await db.user.create(data={"id": user_id, "email": f"{user_id}@localhost"})
    return user_id


@asynccontextmanager
async def scripted_engine(settings: Settings, replies: list[bytes | None]) -> AsyncIterator[list[bytes]]:
    """An engine that answers queries as told: a body, or None to close the connection after reading the request."""
    received: list[bytes] = []
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                body = await reader.readexactly(length)
                reply: bytes | None = b"{}"
                if not head.startswith(b"GET /status"):
                    received.append(head.split(b" ")[1] + b" " + body)
                    reply = replies.pop(0)
                if reply is None:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply))
                await writer.drain()
                # In pieces: nothing may depend on how the bytes arrive.
                for i in range(0, len(reply), 10):
                    writer.write(reply[i : i + 10])
                    await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    path = socket_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield received
    finally:
        server.close()
        await asyncio.gather(*filter(None, serving))


@pytest.fixture
def lone_settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path, "file:database.db")


async def test_reads_and_writes_heal_after_a_kill_of_the_engine(sqlite_settings: Settings) -> None:
    with running_engine(sqlite_settings) as engine:
        db = await connect(sqlite_settings)
        written: list[str] = []
        lost = 0
        stop = asyncio.Event()

        async def read() -> int:
            reads = 0
            while not stop.is_set():
                await db.user.count()
                reads += 1
            return reads

        async def write() -> None:
            nonlocal lost
            while not stop.is_set():
                try:
                    written.append(await add_user(db))
                except Unavailable as error:
                    assert "may or may not have happened" in str(error)
                    lost += 1

        # given readers and writers at work
        work = asyncio.gather(*(read() for _ in range(4)), *(write() for _ in range(4)))
        for _ in range(3):
            await until(lambda: len(written) > 20)
            # when the engine dies in the middle, and another starts
            os.kill(engine.pid, signal.SIGKILL)
            await asyncio.to_thread(engine.wait)
            await asyncio.to_thread(engine.start)
            before = len(written)
            await until(lambda before=before: len(written) > before + 20)
        stop.set()
        await work

        # then no read failed, and what was reported as written is there
        assert lost >= 1
        stored = {user.id for user in await db.user.find_many()}
        assert stored >= set(written)
        assert len(stored) <= len(written) + lost
        await db.disconnect()


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_true():  # noqa: ASYNC110 (the work under test knows no event)
            await asyncio.sleep(0.01)


async def test_a_lost_write_is_never_repeated(lone_settings: Settings) -> None:
    async with scripted_engine(lone_settings, [None]) as received:
        db = await connect(lone_settings)
        with pytest.raises(Unavailable, match="may or may not have happened"):
            await add_user(db)
        assert len(received) == 1
        await db.disconnect()


async def test_a_lost_read_is_repeated(lone_settings: Settings) -> None:
    async with scripted_engine(lone_settings, [None, None, OK]) as received:
        db = await connect(lone_settings)
        assert await db.user.count() == 7
        assert len(received) == 3
        await db.disconnect()


async def test_a_lost_batch_or_raw_statement_is_never_repeated(lone_settings: Settings) -> None:
    async with scripted_engine(lone_settings, [None, None]) as received:
        db = await connect(lone_settings)
        with pytest.raises(Unavailable):
            async with db.batch_() as batch:
                batch.user.delete_many()
        with pytest.raises(Unavailable):
            await db.query_raw("SELECT 1")
        assert len(received) == 2
        await db.disconnect()


async def test_nothing_inside_a_transaction_is_repeated(lone_settings: Settings) -> None:
    async with scripted_engine(lone_settings, [b'{"id": "t1"}', None, None]) as received:
        db = await connect(lone_settings)
        with pytest.raises(Unavailable):
            async with db.tx() as tx:
                await tx.user.count()
        assert [item.split(b" ")[0] for item in received] == [
            b"/transaction/start",
            b"/",
            b"/transaction/t1/rollback",
        ]
        await db.disconnect()


async def test_a_write_waits_for_an_engine_that_is_not_there_yet(sqlite_settings: Settings) -> None:
    with running_engine(sqlite_settings) as engine:
        db = await connect(sqlite_settings)
        engine.stop()
        writing = asyncio.create_task(add_user(db))
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.start)

        user_id = await writing

        assert await db.user.find_unique(where={"id": user_id}) is not None
        await db.disconnect()


async def test_no_engine_at_all_is_unavailable(lone_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autogpt_server.data.prisma_client._PATIENCE", 0.2)

    with pytest.raises(Unavailable, match="does not answer"):
        await connect(lone_settings)


async def test_a_query_that_is_cancelled_does_not_disturb_the_next(sqlite_settings: Settings) -> None:
    with running_engine(sqlite_settings):
        db = await connect(sqlite_settings)
        await add_user(db)
        for _ in range(20):
            reading = asyncio.create_task(db.user.find_many())
            await asyncio.sleep(0)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            assert await db.user.count() == 1
        await db.disconnect()


async def test_many_more_queries_than_connections_all_get_an_answer(sqlite_settings: Settings) -> None:
    with running_engine(sqlite_settings):
        db = await connect(sqlite_settings)
        assert await asyncio.gather(*(db.user.count() for _ in range(500))) == [0] * 500
        await db.disconnect()


async def test_several_clients_live_in_one_process_and_none_is_registered(sqlite_settings: Settings) -> None:
    from prisma import get_client

    with running_engine(sqlite_settings):
        first, second = await connect(sqlite_settings), await connect(sqlite_settings)
        await first.disconnect()
        assert await second.user.count() == 0
        await second.disconnect()
    with pytest.raises(ClientNotRegisteredError):
        get_client()


async def test_the_native_engine_is_used_where_it_is_set(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an executable that behaves like Prisma's native engine: HTTP on a port, its own process per client
    monkeypatch.setenv("AUTOGPT_NODE", str(node_path()))
    settings = settings_for(tmp_path, database_url, prisma_query_engine_binary=LAUNCHER)

    db = await connect(settings)
    user_id = await add_user(db)

    assert await db.user.find_unique(where={"id": user_id}) is not None
    assert not socket_path(settings).exists()
    await db.disconnect()


def test_the_client_works_on_uvloop(sqlite_settings: Settings) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def use() -> int:
        db = await connect(sqlite_settings)
        engine.stop()
        writing = asyncio.create_task(add_user(db))
        await asyncio.to_thread(engine.start)
        await writing
        count = await db.user.count()
        await db.disconnect()
        return count

    with running_engine(sqlite_settings) as engine:
        assert uvloop.run(use()) == 1
