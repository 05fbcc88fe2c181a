"""A store of credentials, and a provider that it can connect with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.database import Database
from autogpt_server.data.users import Users
from autogpt_server.settings import Settings
from tests.credentials.provider import Provider, running_provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def make_store(
    settings: Settings, database: Database, provider: Provider, tmp_path: Path
) -> Callable[[], CredentialStore]:
    Users(database).ensure_default()
    changed = settings.model_copy(update={"oauth_providers_file": provider.write_file(tmp_path)})
    return lambda: CredentialStore(changed, database)


@pytest.fixture
def store(make_store: Callable[[], CredentialStore]) -> CredentialStore:
    return make_store()
