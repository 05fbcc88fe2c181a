"""One scheduler process for all tests of a module that neither start nor stop one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autogpt_server.data.database import Database
from tests.make_settings import make_settings
from tests.migrated_database import migrated_database
from tests.scheduler.scheduler_process import Service


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One scheduler on each kind of database, for all tests that neither start nor stop one."""
    folder = tmp_path_factory.mktemp("shared")
    with migrated_database(request, folder) as url, Service(make_settings(folder, url)) as service:
        yield service


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The shared scheduler, without schedules."""
    yield shared
    for one in shared.post("get_graph_execution_schedules").json():
        gone = shared.post("delete_graph_execution_schedule", schedule_id=one["id"], user_id=one["user_id"])
        assert gone.status_code == 200


@pytest.fixture
def rows(shared: Service) -> Iterator[Database]:
    """What the shared scheduler works on."""
    database = Database.from_settings(shared.settings)
    yield database
    database.close()
