"""Access tokens are refreshed once for all who wait, and what a provider gives is not lost."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import SecretStr

from autogpt_server.credentials import store as store_module
from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.database import Database
from autogpt_server.errors import BlockError
from autogpt_server.model import clock
from autogpt_server.model.credentials import (
    OAuth2Secrets,
)
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.credentials.connecting import ANY, connect, expire, held_up, value
from tests.credentials.provider import Provider


async def test_twenty_that_want_an_expired_token_cause_one_refresh(
    make_store: Callable[[], CredentialStore], provider: Provider, database: Database
) -> None:
    stores = [make_store() for _ in range(4)]
    kept = await connect(stores[0], provider)
    expire(database)
    opening = asyncio.gather(*(stores[i % 4].open(DEFAULT_USER_ID, value(kept), ANY) for i in range(20)))
    async with held_up(provider):
        # All of them have looked before it answers.
        await asyncio.sleep(0.3)
    opened = await opening
    assert provider.refreshes == 1
    assert {one.held.secrets()[0] for one in opened} == {provider.issued[2]}
    after = stores[0].rows.get(DEFAULT_USER_ID, kept.id)
    assert after.revision == 2
    # What the provider gave with it is what the next refresh is made with.
    expire(database)
    await stores[1].open(DEFAULT_USER_ID, value(kept), ANY)
    assert provider.refreshes == 2


async def test_a_token_that_is_good_for_a_while_is_left_alone(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    expire(database, timedelta(seconds=90))
    await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert provider.refreshes == 0
    expire(database, timedelta(seconds=30))
    await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert provider.refreshes == 1


@pytest.mark.parametrize(
    "failure",
    [
        (503, "busy"),
        (200, "no json"),
        (200, "{}"),
        (400, '{"error": "slow_down"}'),
        (200, '{"access_token": "x", "expires_in": Infinity}'),
        (200, '{"access_token": "x", "expires_in": "soon"}'),
        (200, '{"access_token": "line\\nbreak"}'),
        (200, '{"access_token": "\\ud800"}'),
        (200, '{"access_token": "x", "token_type": "a b"}'),
    ],
)
async def test_a_provider_that_is_not_well_is_asked_again_later(
    store: CredentialStore, provider: Provider, database: Database, failure: tuple[int, str]
) -> None:
    kept = await connect(store, provider)
    # The old token is good for a moment yet.
    expire(database, timedelta(seconds=30))
    provider.failures.append(failure)
    assert (await store.open(DEFAULT_USER_ID, value(kept), ANY)).held.secrets() == provider.issued[:2]
    expire(database)
    provider.failures.append(failure)
    with pytest.raises(BlockError, match="cannot be refreshed"):
        await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert store.rows.get(DEFAULT_USER_ID, kept.id).problem is None
    await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert provider.refreshes == 1


async def test_a_refusal_is_told_without_secrets_until_somebody_connects_again(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    expire(database)
    refresh_token = provider.issued[1]
    provider.failures.append((400, f'{{"error": "invalid_grant", "error_description": "bad {refresh_token}"}}'))
    with pytest.raises(BlockError, match="connect acme --again") as told:
        await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert refresh_token not in str(told.value)
    problem = store.rows.get(DEFAULT_USER_ID, kept.id).problem
    assert problem is not None
    assert "invalid_grant: bad ***" in problem
    with pytest.raises(BlockError, match="connect acme --again"):
        await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert provider.refreshes == 0


async def test_without_a_refresh_token_one_is_told_to_connect_again(store: CredentialStore, database: Database) -> None:
    held = OAuth2Secrets(access_token=SecretStr("short-lived"))
    kept = store.add(DEFAULT_USER_ID, "acme", "mine", held, expires_at=clock.now() + timedelta(hours=1))
    assert (await store.open(DEFAULT_USER_ID, value(kept), ANY)).held == held
    expire(database)
    with pytest.raises(BlockError, match="connect acme --again"):
        await store.open(DEFAULT_USER_ID, value(kept), ANY)


async def test_whoever_dies_while_refreshing_holds_up_nobody_for_long(
    store: CredentialStore, provider: Provider, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await connect(store, provider)
    expire(database)
    now = clock.now()
    assert store.rows.begin_refresh(kept.id, 1, "dead", now, now + timedelta(seconds=0.5))
    opened = await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert opened.held.secrets()[0] == provider.issued[2]
    # What the dead one would store is not wanted any more.
    assert not store.rows.end_refresh(kept.id, 1, OAuth2Secrets(access_token=SecretStr("late")), None)
    # And where it never ends, the wait does; with the old token while that lives.
    monkeypatch.setattr(store_module, "_WAIT_SECONDS", 0.2)
    assert store.rows.begin_refresh(kept.id, 2, "hung", now, now + timedelta(hours=1))
    expire(database, timedelta(seconds=30))
    assert await store.open(DEFAULT_USER_ID, value(kept), ANY) == opened
    expire(database)
    with pytest.raises(BlockError, match="takes too long"):
        await store.open(DEFAULT_USER_ID, value(kept), ANY)


async def test_what_comes_late_is_stored_and_undoes_what_somebody_else_was_told(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    now = clock.now()
    assert store.rows.begin_refresh(kept.id, 1, "slow", now, now)
    assert store.rows.begin_refresh(kept.id, 1, "second", now + timedelta(seconds=1), now + timedelta(hours=1))
    store.rows.fail_refresh(kept.id, "second", "refused")
    assert store.rows.get(DEFAULT_USER_ID, kept.id).problem == "refused"
    late = OAuth2Secrets(access_token=SecretStr("late"))
    assert store.rows.end_refresh(kept.id, 1, late, None)
    assert store.rows.get(DEFAULT_USER_ID, kept.id).problem is None
    assert (await store.open(DEFAULT_USER_ID, value(kept), ANY)).held == late


async def test_tokens_that_live_for_a_moment_are_refreshed_once_for_all_who_wait(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    provider.life = 30
    kept = await connect(store, provider)
    opening = asyncio.gather(*(store.open(DEFAULT_USER_ID, value(kept), ANY) for _ in range(5)))
    async with held_up(provider):
        await asyncio.sleep(0.3)
    assert len({one.held.secrets()[0] for one in await opening}) == 1
    assert provider.refreshes == 1


async def test_what_a_provider_repeats_of_the_servers_own_secret_is_struck_out(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    expire(database)
    basic = base64.b64encode(b"the-client:the-secret").decode()
    provider.failures.append(
        (400, json.dumps({"error": "invalid_grant", "error_description": f"the-secret {basic}\0"}))
    )
    with pytest.raises(BlockError, match="connect acme --again") as told:
        await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert "the-secret" not in str(told.value)
    assert basic[:-4] not in str(told.value)


async def test_the_end_of_a_process_waits_for_what_a_provider_gives(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    expire(database)
    opening = asyncio.ensure_future(store.open(DEFAULT_USER_ID, value(kept), ANY))
    async with held_up(provider):
        opening.cancel()
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
    await closing
    assert store.rows.get(DEFAULT_USER_ID, kept.id).revision == 2


async def test_a_block_that_is_stopped_does_not_lose_what_the_provider_gave(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    expire(database)
    opening = asyncio.ensure_future(store.open(DEFAULT_USER_ID, value(kept), ANY))
    async with held_up(provider):
        opening.cancel()
    end = asyncio.get_running_loop().time() + 20
    while store.rows.get(DEFAULT_USER_ID, kept.id).revision == 1:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)
    assert store.rows.open(DEFAULT_USER_ID, kept.id).held.secrets() == provider.issued[2:]


async def test_deleted_while_refreshed(store: CredentialStore, provider: Provider, database: Database) -> None:
    kept = await connect(store, provider)
    expire(database)
    opening = asyncio.ensure_future(store.open(DEFAULT_USER_ID, value(kept), ANY))
    async with held_up(provider):
        store.rows.remove(DEFAULT_USER_ID, kept.id)
    with pytest.raises(BlockError, match="was deleted"):
        await opening
