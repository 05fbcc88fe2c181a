"""Servers for journeys: one for each database, shared by the tests, and those that a test starts itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from postgres_server import PostgresServer
from running_server import Server, environment, running_server


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    """A running server that all tests share, once for each database."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _shared_server(tmp_path_factory, "file:database.db") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres_server.database() as url:
        with _shared_server(tmp_path_factory, url) as server:
            yield server


def _shared_server(folders: pytest.TempPathFactory, url: str) -> AbstractContextManager[Server]:
    return running_server(environment(folders.mktemp("server"), url, AUTOGPT_ALLOWED_NETWORKS="127.0.0.0/8"))


@pytest.fixture
def start_server() -> Callable[..., AbstractContextManager[Server]]:
    """Start servers in the test: ``with start_server(data_dir, database_url, SETTING="value") as server:``"""
    return lambda data_dir, url, **changes: running_server(environment(data_dir, url, **changes))


@pytest.fixture
def journey_environment() -> Callable[..., dict[str, str]]:
    """The environment of a command: ``journey_environment(data_dir, database_url, SETTING="value")``"""
    return environment
