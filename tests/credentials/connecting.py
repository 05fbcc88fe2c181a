"""What tests of credentials have in common: values, a provider to connect with, and time that passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.database import Database
from autogpt_server.model import clock
from autogpt_server.model.credentials import (
    ApiKeySecrets,
    Credentials,
    CredentialsPin,
)
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.credentials.provider import Provider

ANY = CredentialsPin(frozenset(), frozenset())
KEY = ApiKeySecrets(api_key=SecretStr("the-key"))


def value(credentials: Credentials, **changes: str) -> dict[str, Any]:
    return {"id": credentials.id, "provider": credentials.provider, "type": credentials.type} | changes


async def connect(store: CredentialStore, provider: Provider) -> Credentials:
    login = store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    _, code, state = provider.consent(login.authorization_url)
    return await store.finish_login(state, code)


@asynccontextmanager
async def held_up(provider: Provider) -> AsyncIterator[None]:
    """Do something between a question and its answer."""
    provider.asked.clear()
    provider.gate.clear()
    try:
        assert await asyncio.to_thread(provider.asked.wait, 20)
        yield
    finally:
        provider.gate.set()


def expire(database: Database, in_: timedelta = timedelta(seconds=-1)) -> None:
    with database.write() as c:
        c.execute(database.sql('UPDATE "Credential" SET "expiresAt" = ?'), (database.to_column(clock.now() + in_),))
