from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest
from prisma_fixtures import settings_for

from autogpt_server.data.prisma_client import connect
from autogpt_server.data.query_engine import EngineProcess, QueryEngine, socket_path
from autogpt_server.errors import InvalidError
from autogpt_server.service.child import ProcessEnded
from autogpt_server.settings import Settings


async def test_the_process_serves_the_engine_and_starts_it_again_when_it_dies(sqlite_settings: Settings) -> None:
    with QueryEngine(sqlite_settings) as process:
        engine = psutil.Process(process.wait_ready()["engine_pid"])
        db = await connect(sqlite_settings)
        assert await db.user.count() == 0

        os.kill(engine.pid, signal.SIGKILL)

        assert await db.user.count() == 0
        assert not engine.is_running()
        await db.disconnect()
    assert not socket_path(sqlite_settings).exists()


async def test_an_engine_that_stands_still_is_replaced(sqlite_settings: Settings) -> None:
    with QueryEngine(sqlite_settings) as process:
        engine = psutil.Process(process.wait_ready()["engine_pid"])
        db = await connect(sqlite_settings)
        assert await db.user.count() == 0

        engine.suspend()

        async with asyncio.timeout(20):
            # A read that was lost with the engine is asked again.
            assert await db.user.count() == 0
        assert not engine.is_running()
        await db.disconnect()


def test_the_engine_ends_with_the_process_that_supervises_it(sqlite_settings: Settings) -> None:
    process = QueryEngine(sqlite_settings)
    process.start(background=True)
    engine = psutil.Process(process.wait_ready()["engine_pid"])

    process.child.send_signal(signal.SIGKILL)
    process.child.wait_gone(10)

    psutil.wait_procs([engine], timeout=10)
    assert not engine.is_running()


async def test_a_killed_supervisor_is_replaced_at_once(sqlite_settings: Settings) -> None:
    first = QueryEngine(sqlite_settings)
    first.start(background=True)
    first.wait_ready()
    db = await connect(sqlite_settings)

    first.child.send_signal(signal.SIGKILL)
    first.child.wait_gone(10)

    with QueryEngine(sqlite_settings):
        assert await db.user.count() == 0
        await db.disconnect()


def test_the_process_refuses_to_start_on_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, f"file:{tmp_path}/missing/database.db")

    with pytest.raises(ProcessEnded, match="exit code 78"), QueryEngine(settings):
        pass


def test_the_process_starts_nothing_where_the_native_engine_is_set(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "file:database.db", prisma_query_engine_binary=Path("/bin/true"))

    with QueryEngine(settings) as process:
        assert psutil.Process(process.child.pid).children() == []


async def test_a_second_engine_does_not_take_the_socket_of_the_first(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = EngineProcess(sqlite_settings), EngineProcess(sqlite_settings)
    monkeypatch.setattr("autogpt_server.data.query_engine._START_SECONDS", 1.0)
    first.start()
    try:
        with pytest.raises(InvalidError):
            await asyncio.to_thread(second.start)
        db = await connect(sqlite_settings)
        assert await db.user.count() == 0
        await db.disconnect()
    finally:
        first.stop()
