"""Credentials kept, opened, refreshed and refused, on both databases."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.credentials import store as store_module
from autogpt_server.credentials.providers import ProviderNotFound
from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.database import Database
from autogpt_server.data.users import Users
from autogpt_server.errors import BlockError, CredentialsNotFound, InvalidError, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.credentials import (
    ApiKeySecrets,
    Credentials,
    CredentialsPin,
    HostScopedSecrets,
    OAuth2Secrets,
    UserPasswordSecrets,
)
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.principal import Role
from autogpt_server.settings import Settings
from tests.credentials.provider import Provider, running_provider

ANY = CredentialsPin(frozenset(), frozenset())
KEY = ApiKeySecrets(api_key=SecretStr("the-key"))


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


def value(credentials: Credentials, **changes: str) -> dict[str, Any]:
    return {"id": credentials.id, "provider": credentials.provider, "type": credentials.type} | changes


async def connect(store: CredentialStore, provider: Provider) -> Credentials:
    login = store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    back, state = provider.consent(login.authorization_url)
    code = parse_qs(urlsplit(back).query)["code"][0]
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


async def test_what_was_kept_is_opened_by_its_owner_alone(store: CredentialStore, database: Database) -> None:
    kept = store.add(DEFAULT_USER_ID, "acme", "mine", KEY)
    opened = await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert opened.held == KEY
    assert opened.headers("http://any.test/") == {"Authorization": "Bearer the-key"}
    assert "the-key" not in repr(opened)
    assert store.rows.get(DEFAULT_USER_ID, kept.id) == kept

    other = Users(database).add("b@example.org", None, "UTC", Role.MEMBER)
    with pytest.raises(BlockError, match="not found"):
        await store.open(other.id, value(kept), ANY)
    with pytest.raises(CredentialsNotFound):
        store.edit(other.id, kept.id, "theirs", None)
    with pytest.raises(CredentialsNotFound):
        store.rows.remove(other.id, kept.id)
    assert store.rows.list(other.id, limit=5).items == []

    store.rows.remove(DEFAULT_USER_ID, kept.id)
    with pytest.raises(BlockError, match="not found"):
        await store.open(DEFAULT_USER_ID, value(kept), ANY)


async def test_what_is_stored_does_not_show_the_secret(store: CredentialStore, database: Database) -> None:
    store.add(DEFAULT_USER_ID, "acme", "mine", KEY)
    with database.read() as c:
        (row,) = c.execute('SELECT * FROM "Credential"').all()
    assert "the-key" not in str(row)


@pytest.mark.parametrize(
    ("changes", "pin", "reason"),
    [
        ({"provider": "other"}, ANY, "says other, api_key"),
        ({"type": "oauth2"}, ANY, "says acme, oauth2"),
        ({}, CredentialsPin(frozenset({"github"}), frozenset()), "this pin takes github"),
        ({}, CredentialsPin(frozenset(), frozenset({"oauth2"})), "this pin takes oauth2"),
        ({"id": "nothing"}, ANY, "not found"),
        ({"id": "01234567-89ab-7cde-8f01-23456789abcd"}, ANY, "not found"),
        ({"type": "none"}, ANY, "must say which"),
    ],
)
async def test_what_is_not_for_the_pin_is_refused(
    store: CredentialStore, changes: dict[str, str], pin: CredentialsPin, reason: str
) -> None:
    kept = store.add(DEFAULT_USER_ID, "acme", "mine", KEY)
    with pytest.raises(BlockError, match=reason):
        await store.open(DEFAULT_USER_ID, value(kept, **changes), pin)
    assert [problem.path for problem in store.check(DEFAULT_USER_ID, {"x": (value(kept, **changes), pin)})] == ["x"]
    assert store.check(DEFAULT_USER_ID, {"x": (value(kept), ANY)}) == []


def test_secrets_are_replaced_by_those_of_the_same_type(store: CredentialStore) -> None:
    kept = store.add(DEFAULT_USER_ID, "acme", "mine", KEY)
    new = ApiKeySecrets(api_key=SecretStr("another"))
    edited = store.edit(DEFAULT_USER_ID, kept.id, "renamed", new)
    assert (edited.title, edited.revision) == ("renamed", 2)
    assert store.edit(DEFAULT_USER_ID, kept.id, "again", None).revision == 2
    assert store.rows.open(DEFAULT_USER_ID, kept.id).held == new
    with pytest.raises(InvalidError, match="secrets"):
        store.edit(
            DEFAULT_USER_ID, kept.id, None, UserPasswordSecrets(username=SecretStr("a"), password=SecretStr("b"))
        )
    for title in ("", "x" * 201, "a\nb"):
        with pytest.raises(InvalidError, match="title"):
            store.edit(DEFAULT_USER_ID, kept.id, title, None)
        with pytest.raises(InvalidError, match="title"):
            store.add(DEFAULT_USER_ID, "acme", title, KEY)


def test_pages_lead_through_all(store: CredentialStore) -> None:
    kept = [store.add(DEFAULT_USER_ID, "acme", str(i), KEY) for i in range(5)]
    first = store.rows.list(DEFAULT_USER_ID, limit=3)
    rest = store.rows.list(DEFAULT_USER_ID, limit=3, cursor=first.next_cursor)
    assert [one.id for one in [*first.items, *rest.items]] == [one.id for one in reversed(kept)]
    assert rest.next_cursor is None


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [
        ("https://api.acme.test/x", True),
        ("http://API.acme.test:8080/", True),
        ("https://acme.test/", False),
        ("https://api.acme.test.evil.test/", False),
        ("https://api.acme.test@evil.test/", False),
        ("https://evil.test/?api.acme.test", False),
    ],
)
def test_headers_for_a_host_go_nowhere_else(url: str, is_sent: bool) -> None:
    held = HostScopedSecrets.model_validate({"host": "api.acme.test", "headers": {"X-Key": "k"}})
    assert held.headers(url) == ({"X-Key": "k"} if is_sent else {})
    with_port = HostScopedSecrets.model_validate({"host": "api.acme.test:8080", "headers": {"X-Key": "k"}})
    assert bool(with_port.headers(url)) is (":8080" in url)


async def test_a_login_gives_credentials(store: CredentialStore, provider: Provider) -> None:
    kept = await connect(store, provider)
    assert (kept.provider, kept.type, kept.title, kept.scopes) == ("acme", "oauth2", "mine", ("read", "write"))
    assert kept.expires_at is not None
    assert timedelta(seconds=3500) < kept.expires_at - clock.now() <= timedelta(seconds=3600)
    opened = await store.open(DEFAULT_USER_ID, value(kept), ANY)
    assert opened.held.secrets() == provider.issued
    assert provider.refreshes == 0


async def test_a_login_is_good_once_and_for_ten_minutes(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    login = store.begin_login(DEFAULT_USER_ID, "acme", "mine", ("one",))
    query = parse_qs(urlsplit(login.authorization_url).query)
    assert query["scope"] == ["one"]
    back, state = provider.consent(login.authorization_url)
    code = parse_qs(urlsplit(back).query)["code"][0]
    with pytest.raises(InvalidError, match="belongs to no login"):
        await store.finish_login("another", code)
    await store.finish_login(state, code)
    with pytest.raises(InvalidError, match="belongs to no login"):
        await store.finish_login(state, code)

    login = store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    _, state = provider.consent(login.authorization_url)
    past = database.to_column(clock.now() - timedelta(seconds=1))
    with database.write() as c:
        c.execute(database.sql('UPDATE "OAuthLogin" SET "expiresAt" = ?'), (past,))
        (stored,) = c.execute('SELECT * FROM "OAuthLogin"').all()
    assert state not in str(stored)
    with pytest.raises(InvalidError, match="belongs to no login"):
        await store.finish_login(state, code)
    # One that begins clears away what nobody came back for.
    store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    with database.read() as c:
        assert c.execute('SELECT COUNT(*) FROM "OAuthLogin"').scalar_one() == 2


@pytest.mark.parametrize("change", [{"role": Role.VIEWER}, {"is_disabled": True}])
async def test_a_login_of_somebody_who_may_not_write_any_more_is_refused(
    store: CredentialStore, provider: Provider, database: Database, change: dict[str, Any]
) -> None:
    other = Users(database).add("b@example.org", None, "UTC", Role.MEMBER)
    login = store.begin_login(other.id, "acme", "mine", None)
    back, state = provider.consent(login.authorization_url)
    Accounts(database).edit_user(other.id, change)
    with pytest.raises(InvalidError, match="may not keep"):
        await store.finish_login(state, parse_qs(urlsplit(back).query)["code"][0])
    assert provider.issued == []


def test_beyond_loopback_a_login_needs_the_address_of_the_server(
    settings: Settings, database: Database, provider: Provider, tmp_path: Path
) -> None:
    Users(database).ensure_default()
    changes = {"oauth_providers_file": provider.write_file(tmp_path), "host": "0.0.0.0"}
    with pytest.raises(InvalidError, match="AUTOGPT_PUBLIC_URL"):
        CredentialStore(settings.model_copy(update=changes), database).begin_login(DEFAULT_USER_ID, "acme", None, None)
    changes["public_url"] = "https://agents.example.org/"
    store = CredentialStore(settings.model_copy(update=changes), database)
    url = store.begin_login(DEFAULT_USER_ID, "acme", None, None).authorization_url
    back = parse_qs(urlsplit(url).query)["redirect_uri"]
    assert back == ["https://agents.example.org/api/credentials/oauth/callback"]


def test_a_file_of_providers_that_others_can_read_is_refused(
    store: CredentialStore, provider: Provider, tmp_path: Path
) -> None:
    (tmp_path / "providers.json").chmod(0o644)
    with pytest.raises(InvalidError, match="chmod 600"):
        _ = store.oauth


async def test_a_wrong_code_is_refused_and_an_unknown_provider_is_named(
    store: CredentialStore, provider: Provider
) -> None:
    login = store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    _, state = provider.consent(login.authorization_url)
    with pytest.raises(InvalidError, match="invalid_grant: bad code"):
        await store.finish_login(state, "guessed")
    assert store.rows.list(DEFAULT_USER_ID, limit=5).items == []
    with pytest.raises(ProviderNotFound, match="There are: acme"):
        store.begin_login(DEFAULT_USER_ID, "none", "mine", None)


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


async def test_whoever_connects_again_keeps_the_same_credentials(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    expire(database)
    provider.failures.append((400, '{"error": "invalid_grant"}'))
    with pytest.raises(BlockError, match="connect acme --again"):
        await store.open(DEFAULT_USER_ID, value(kept), ANY)
    login = store.begin_login(DEFAULT_USER_ID, "acme", None, None, kept.id)
    back, state = provider.consent(login.authorization_url)
    again = await store.finish_login(state, parse_qs(urlsplit(back).query)["code"][0])
    assert (again.id, again.title, again.problem, again.revision) == (kept.id, "mine", None, 2)
    assert (await store.open(DEFAULT_USER_ID, value(kept), ANY)).held.secrets() == provider.issued[2:]

    key = store.add(DEFAULT_USER_ID, "acme", "key", KEY)
    for wrong in (key.id, "01234567-89ab-7cde-8f01-23456789abcd"):
        with pytest.raises(CredentialsNotFound):
            store.begin_login(DEFAULT_USER_ID, "acme", None, None, wrong)


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


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nothing", "providers.json"),
        ("[]", "providers.json"),
        ('{"a": {"client_id": "x", "client_secret": "hush", "authorize_url": "https://a.test/"}}', "a.token_url"),
        (
            '{"a": {"client_id": "x", "authorize_url": "http://a.test/", "token_url": "https://a.test/"}}',
            "authorize_url",
        ),
        ('{"a": {"client_id": 5, "client_secret": ["hush"]}}', "a.client_secret"),
        ('{"a": "hush"}', "a"),
    ],
)
def test_a_wrong_file_of_providers_is_told_without_what_is_in_it(
    store: CredentialStore, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "providers.json").write_text(text)
    with pytest.raises(InvalidError, match=problem) as told:
        _ = store.oauth
    assert "hush" not in str(told.value)


async def test_a_lost_key_is_told_and_nothing_is_kept_in_the_open(
    store: CredentialStore, make_store: Callable[[], CredentialStore], settings: Settings
) -> None:
    kept = store.add(DEFAULT_USER_ID, "acme", "mine", KEY)
    (settings.data_dir / "keys" / "secret.keys").unlink()
    lost = make_store()
    with pytest.raises(BlockError, match=r"key file is lost"):
        await lost.open(DEFAULT_USER_ID, value(kept), ANY)
    with pytest.raises(InvalidError, match="only it can open"):
        lost.add(DEFAULT_USER_ID, "acme", "another", KEY)
    assert [one.id for one in lost.rows.list(DEFAULT_USER_ID, limit=5).items] == [kept.id]


async def test_a_database_that_is_away_for_a_moment_is_waited_for(
    store: CredentialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store.add(DEFAULT_USER_ID, "acme", "mine", KEY)
    real, calls = store.rows.open, list[int]()

    def away(user_id: str, id_: str) -> Any:
        calls.append(1)
        if len(calls) < 3:
            raise Unavailable("away")
        return real(user_id, id_)

    monkeypatch.setattr(store.rows, "open", away)
    assert (await store.open(DEFAULT_USER_ID, value(kept), ANY)).held == KEY
