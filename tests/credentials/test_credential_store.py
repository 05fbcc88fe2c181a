"""Credentials kept, opened and refused, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.database import Database
from autogpt_server.data.users import Users
from autogpt_server.errors import BlockError, CredentialsNotFound, InvalidError, Unavailable
from autogpt_server.model.credentials import (
    ApiKeySecrets,
    CredentialsPin,
    HostScopedSecrets,
    UserPasswordSecrets,
)
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.principal import Role
from autogpt_server.settings import Settings
from tests.credentials.connecting import ANY, KEY, value


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
