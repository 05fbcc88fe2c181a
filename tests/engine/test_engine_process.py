"""The engine as a process: its socket, its end, and others on the same database."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from prisma_fixtures import running_engine, settings_for

from autogpt_server.data.database import Database
from autogpt_server.data.prisma_client import connect
from autogpt_server.data.query_engine import EngineProcess, socket_path
from autogpt_server.errors import InvalidError, Unavailable
from autogpt_server.model.ids import new_id
from autogpt_server.settings import Settings

LAUNCHER = Path(__file__).parent.parent.parent / "engine" / "query-engine"


def wait_until(is_true: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that only the system can tell."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_the_version_is_told_without_node() -> None:
    result = subprocess.run([LAUNCHER, "--version"], capture_output=True, text=True, env={"PATH": ""}, check=True)

    assert result.stdout == "query-engine 393aa359c9ad4a4bb28630fb5613f9c281cde053\n"


def test_only_the_owner_may_use_the_socket(sqlite_settings: Settings) -> None:
    with running_engine(sqlite_settings):
        assert stat.S_IMODE(socket_path(sqlite_settings).stat().st_mode) == 0o600


async def test_the_socket_of_a_dead_engine_is_taken_over(sqlite_settings: Settings) -> None:
    path = socket_path(sqlite_settings)
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    with running_engine(sqlite_settings):
        db = await connect(sqlite_settings)
        assert await db.user.count() == 0
        await db.disconnect()


def test_an_engine_leaves_no_socket_when_it_is_stopped(sqlite_settings: Settings) -> None:
    engine = EngineProcess(sqlite_settings)
    engine.start()

    engine.stop()

    assert engine.wait() == 0
    assert not socket_path(sqlite_settings).exists()


def test_a_bad_address_is_said_at_the_start(tmp_path: Path) -> None:
    engine = EngineProcess(settings_for(tmp_path, f"file:{tmp_path}/no/such/folder/database.db"))

    with pytest.raises(InvalidError, match="unable to open database file"):
        engine.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_running_queries_finish_before_the_engine_stops(sqlite_settings: Settings, number: int) -> None:
    with running_engine(sqlite_settings) as engine:
        db = await connect(sqlite_settings)
        database = Database.from_settings(sqlite_settings)

        # given a write that waits for another process' lock
        with database.write():
            writing = asyncio.create_task(db.user.create(data={"id": new_id(), "email": "a@localhost"}))
            for _ in range(10):
                await db.user.count()

            # when the engine is asked to stop, and no longer answers others
            os.kill(engine.pid, number)
            with contextlib.suppress(TimeoutError):
                while True:
                    await asyncio.wait_for(db.user.count(), 0.5)

        # then the write ends well
        assert (await writing).email == "a@localhost"
        assert await asyncio.to_thread(engine.wait) == 0
        await db.disconnect()
        database.close()


def test_the_engine_ends_when_its_parent_is_killed(sqlite_settings: Settings) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from autogpt_server.data.query_engine import EngineProcess
        from autogpt_server.settings import Settings
        engine = EngineProcess(Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2]))
        engine.start()
        print(engine.pid, flush=True)
        engine.wait()
    """)
    arguments = [sys.executable, "-c", program, str(sqlite_settings.data_dir), sqlite_settings.database_url]
    parent = subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=LAUNCHER.parent.parent)
    with parent:
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))

        parent.kill()

        wait_until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE)
    assert not socket_path(sqlite_settings).exists()


async def test_two_engines_and_plain_writers_share_one_sqlite_file(tmp_path: Path, sqlite_url: str) -> None:
    (first, second) = (settings_for(tmp_path / name, sqlite_url) for name in ("one", "two"))
    with running_engine(first), running_engine(second):
        clients = [await connect(first), await connect(second)]
        database = Database.from_settings(first)

        async def create(number: int) -> None:
            user_id = new_id()
            await clients[number % 2].user.create(data={"id": user_id, "email": f"{user_id}@localhost"})

        def insert(number: int) -> None:
            user_id = new_id()
            moment = 1_800_000_000_000
            with database.write() as connection:
                connection.execute(
                    'INSERT INTO "User" ("id", "email", "createdAt", "updatedAt") VALUES (?, ?, ?, ?)',
                    (user_id, f"{number}@localhost", moment, moment),
                )

        await asyncio.gather(*(create(i) for i in range(100)), *(asyncio.to_thread(insert, i) for i in range(100)))

        assert await clients[0].user.count() == 200
        for client in clients:
            await client.disconnect()
        database.close()


async def test_every_write_of_the_engine_is_durable_and_checked(sqlite_settings: Settings) -> None:
    with running_engine(sqlite_settings):
        db = await connect(sqlite_settings)
        # PRAGMA goes to the connection that writes, SELECT to the one that reads.
        names = ("journal_mode", "synchronous", "foreign_keys")
        writing = [(await db.query_raw(f"PRAGMA {name}"))[0][name] for name in names]  # type: ignore[arg-type]
        reading = [(await db.query_raw(f"SELECT * FROM pragma_{name}"))[0][name] for name in names]  # type: ignore[arg-type]
        await db.disconnect()

    assert writing == reading == ["wal", 2, 1]


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://nobody@127.0.0.1:{free.getsockname()[1]}/nothing"
        settings = settings_for(tmp_path, url)
        with running_engine(settings):
            db = await connect(settings)
            with pytest.raises(Unavailable, match="cannot be reached"):
                await db.user.count()
            with pytest.raises(Unavailable, match="cannot be reached"):
                async with db.batch_() as batch:
                    batch.user.create(data={"id": new_id(), "email": "a@localhost"})
            await db.disconnect()
