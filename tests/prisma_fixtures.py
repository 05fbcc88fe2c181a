"""Fixtures for tests that go through Prisma: one engine and one database of each kind per test module."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prisma import Prisma

from autogpt_server.data.prisma_client import connect
from autogpt_server.data.query_engine import EngineProcess
from autogpt_server.settings import Settings


def settings_for(folder: Path, database_url: str, **changes: object) -> Settings:
    """Settings of an engine, whatever the environment says."""
    values: dict[str, object] = {"port": 0} | changes
    return Settings(data_dir=folder, database_url=database_url, _env_file=None, **values)  # type: ignore[call-arg]


@contextmanager
def running_engine(settings: Settings, datamodel: Path | None = None) -> Iterator[EngineProcess]:
    """An engine that is stopped at the end."""
    engine = EngineProcess(settings, datamodel)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine_settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running engine on a migrated database; tests of a module share both."""
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "database.db")
        settings = settings_for(folder, "file:database.db")
        with running_engine(settings):
            yield settings
        return
    template = request.getfixturevalue("postgresql_template")
    with request.getfixturevalue("postgres_server").database(template=template) as url:
        settings = settings_for(folder, url)
        with running_engine(settings):
            yield settings


@pytest.fixture
async def db(engine_settings: Settings) -> AsyncIterator[Prisma]:
    """A client on that engine."""
    client = await connect(engine_settings)
    yield client
    await client.disconnect()
