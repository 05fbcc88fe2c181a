"""Logins with a provider: what comes of them, and which are refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.credentials.providers import ProviderNotFound
from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.database import Database
from autogpt_server.data.users import Users
from autogpt_server.errors import BlockError, CredentialsNotFound, InvalidError
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.principal import Role
from autogpt_server.settings import Settings
from tests.credentials.connecting import ANY, KEY, connect, expire, value
from tests.credentials.provider import Provider


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
    _, code, state = provider.consent(login.authorization_url)
    with pytest.raises(InvalidError, match="belongs to no login"):
        await store.finish_login("another", code)
    await store.finish_login(state, code)
    with pytest.raises(InvalidError, match="belongs to no login"):
        await store.finish_login(state, code)

    login = store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    state = provider.consent(login.authorization_url).state
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
    _, code, state = provider.consent(login.authorization_url)
    Accounts(database).edit_user(other.id, change)
    with pytest.raises(InvalidError, match="may not keep"):
        await store.finish_login(state, code)
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


async def test_a_wrong_code_is_refused_and_an_unknown_provider_is_named(
    store: CredentialStore, provider: Provider
) -> None:
    login = store.begin_login(DEFAULT_USER_ID, "acme", "mine", None)
    state = provider.consent(login.authorization_url).state
    with pytest.raises(InvalidError, match="invalid_grant: bad code"):
        await store.finish_login(state, "guessed")
    assert store.rows.list(DEFAULT_USER_ID, limit=5).items == []
    with pytest.raises(ProviderNotFound, match="There are: acme"):
        store.begin_login(DEFAULT_USER_ID, "none", "mine", None)


async def test_whoever_connects_again_keeps_the_same_credentials(
    store: CredentialStore, provider: Provider, database: Database
) -> None:
    kept = await connect(store, provider)
    expire(database)
    provider.failures.append((400, '{"error": "invalid_grant"}'))
    with pytest.raises(BlockError, match="connect acme --again"):
        await store.open(DEFAULT_USER_ID, value(kept), ANY)
    login = store.begin_login(DEFAULT_USER_ID, "acme", None, None, kept.id)
    _, code, state = provider.consent(login.authorization_url)
    again = await store.finish_login(state, code)
    assert (again.id, again.title, again.problem, again.revision) == (kept.id, "mine", None, 2)
    assert (await store.open(DEFAULT_USER_ID, value(kept), ANY)).held.secrets() == provider.issued[2:]

    key = store.add(DEFAULT_USER_ID, "acme", "key", KEY)
    for wrong in (key.id, "01234567-89ab-7cde-8f01-23456789abcd"):
        with pytest.raises(CredentialsNotFound):
            store.begin_login(DEFAULT_USER_ID, "acme", None, None, wrong)


def test_a_file_of_providers_that_others_can_read_is_refused(
    store: CredentialStore, provider: Provider, tmp_path: Path
) -> None:
    (tmp_path / "providers.json").chmod(0o644)
    with pytest.raises(InvalidError, match="chmod 600"):
        _ = store.oauth


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
