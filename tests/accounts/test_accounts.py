"""Users and keys: what is stored, what is refused, and who a key belongs to."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from autogpt_server.accounts import verifier as verifier_module
from autogpt_server.accounts.accounts import Accounts
from autogpt_server.accounts.secrets import parse_key_text
from autogpt_server.accounts.verifier import LOCAL_OWNER, Verifier
from autogpt_server.data.database import Database
from autogpt_server.errors import ConflictError, InvalidError, NotAuthenticated, NotAuthorizedError, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.account import User
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.principal import Principal, Role, Scope


@pytest.fixture
def accounts(database: Database) -> Accounts:
    accounts = Accounts(database)
    accounts.users.ensure_default()
    return accounts


@pytest.fixture
def ann(accounts: Accounts) -> User:
    return accounts.add_user("ann@example.org", "Ann", "Europe/Berlin", Role.MEMBER)


def test_the_local_user_owns_the_server(accounts: Accounts):
    accounts.users.ensure_default()
    assert accounts.users.get(DEFAULT_USER_ID).role is Role.OWNER


def test_a_user_reads_back_and_addresses_are_unique(accounts: Accounts, ann: User):
    assert accounts.users.get(ann.id) == ann == accounts.users.find_by_email("ann@example.org")
    with pytest.raises(ConflictError, match=r"ann@example\.org already"):
        accounts.add_user("ann@example.org", None, "UTC", Role.OWNER)
    other = accounts.add_user("bob@example.org", None, "UTC", Role.MEMBER)
    with pytest.raises(ConflictError, match="Another user"):
        accounts.edit_user(other.id, {"email": "ann@example.org"})
    assert accounts.users.get(other.id).email == "bob@example.org"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no address"), ("email", "a@b\nBcc: c@d"), ("email", "x@" + "y" * 300), ("name", "a\0b"),
        ("timezone", "Mars/Base"), ("timezone", "../etc/passwd"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_stored(accounts: Accounts, ann: User, field: str, value: str):
    with pytest.raises(InvalidError) as refused:
        accounts.edit_user(ann.id, {field: value})
    assert [problem.path for problem in refused.value.problems] == [field]
    assert accounts.users.get(ann.id) == ann


@pytest.mark.parametrize("change", [{"role": Role.VIEWER}, {"is_disabled": True}])
def test_the_last_owner_stays(accounts: Accounts, ann: User, change: dict[str, object]):
    with pytest.raises(ConflictError, match="only owner"):
        accounts.edit_user(DEFAULT_USER_ID, change)
    accounts.edit_user(ann.id, {"role": Role.OWNER})
    accounts.edit_user(DEFAULT_USER_ID, change)
    with pytest.raises(ConflictError, match="only owner"):
        accounts.edit_user(ann.id, change)


def test_of_a_key_only_a_hash_is_stored(accounts: Accounts, ann: User, database: Database):
    key, text = accounts.add_key(ann, "laptop")
    assert key.scopes == Role.MEMBER.scopes
    parsed = parse_key_text(text)
    assert parsed is not None and parsed.prefix == key.prefix
    with database.read() as c:
        row = c.execute('SELECT * FROM "ApiKey"').one()
    assert parsed.secret not in str(row)
    assert "$argon2id$" in str(row)


@pytest.mark.parametrize(
    ("name", "scopes", "days", "field"),
    [
        ("", None, None, "name"),
        ("x", [], None, "scopes"),
        ("x", [Scope.ADMIN], None, "scopes"),
        ("x", None, -1, "expires_at"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    accounts: Accounts, ann: User, name: str, scopes: list[Scope] | None, days: int | None, field: str
):
    expires_at = None if days is None else clock.now() + timedelta(days=days)
    with pytest.raises(InvalidError) as refused:
        accounts.add_key(ann, name, scopes, expires_at)
    assert [problem.path for problem in refused.value.problems] == [field]
    assert not accounts.keys.any_made()


def test_a_key_makes_no_key_that_allows_more(accounts: Accounts, ann: User):
    maker = Principal(ann.id, Role.MEMBER, frozenset({Scope.READ, Scope.WRITE}))
    assert accounts.add_key(ann, "x", None, None, maker)[0].scopes == maker.scopes
    with pytest.raises(NotAuthorizedError, match="execute"):
        accounts.add_key(ann, "x", [Scope.EXECUTE], None, maker)


def test_a_key_makes_no_key_that_lives_longer(accounts: Accounts, ann: User):
    hour = clock.now().replace(microsecond=0) + timedelta(hours=1)
    own, _ = accounts.add_key(ann, "own", None, hour)
    maker = Principal(ann.id, Role.MEMBER, Role.MEMBER.scopes, own.id)
    assert accounts.add_key(ann, "x", None, own.expires_at, maker)
    for end in (None, hour + timedelta(hours=1)):
        with pytest.raises(InvalidError, match="expires_at"):
            accounts.add_key(ann, "x", None, end, maker)


def test_a_one_time_token_is_for_the_first_key_alone(accounts: Accounts, ann: User):
    token = accounts.make_setup_token()
    assert token is not None
    accounts.add_key(ann, "made by hand")
    with pytest.raises(NotAuthenticated):
        accounts.claim(token, "x")


def test_a_one_time_token_is_good_once(accounts: Accounts):
    first = accounts.make_setup_token()
    token = accounts.make_setup_token()
    assert first is not None and token is not None
    with pytest.raises(NotAuthenticated):
        accounts.claim(first, "x")  # a later start has made another
    for name in ("", " ", "x" * 1001, "a\nb"):
        with pytest.raises(InvalidError, match="name"):
            accounts.claim(token, name)
    key, _ = accounts.claim(token, "x")
    assert (key.user_id, key.scopes) == (DEFAULT_USER_ID, frozenset(Scope))
    with pytest.raises(NotAuthenticated):
        accounts.claim(token, "x")
    assert accounts.make_setup_token() is None


def test_a_one_time_token_ends_after_a_day(accounts: Accounts, monkeypatch: pytest.MonkeyPatch):
    token, later = accounts.make_setup_token(), clock.now() + timedelta(days=1, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert token is not None
    with pytest.raises(NotAuthenticated):
        accounts.claim(token, "x")


async def test_without_keys_everybody_is_the_local_owner_until_the_first_is_made(
    accounts: Accounts, database: Database, monkeypatch: pytest.MonkeyPatch
):
    verifier = Verifier(database, is_always_needed=False)
    assert await verifier.anonymous() == LOCAL_OWNER
    key, _ = accounts.add_key(accounts.users.get(DEFAULT_USER_ID), "x")
    # For a moment it does not look again.
    assert await verifier.anonymous() == LOCAL_OWNER
    monkeypatch.setattr(verifier_module, "_FRESH_SECONDS", 0.0)
    with pytest.raises(NotAuthenticated):
        await verifier.anonymous()
    accounts.keys.revoke(key.id, None)
    with pytest.raises(NotAuthenticated):
        await Verifier(database, is_always_needed=False).anonymous()


async def test_beyond_loopback_a_key_is_needed_before_there_is_one(database: Database):
    with pytest.raises(NotAuthenticated):
        await Verifier(database, is_always_needed=True).anonymous()


async def test_a_key_stands_for_its_user_and_what_both_allow(
    accounts: Accounts, ann: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verifier_module, "_FRESH_SECONDS", 0.0)
    verifier = Verifier(database, is_always_needed=True)
    key, text = accounts.add_key(ann, "x")
    found = await asyncio.gather(*(verifier.principal(text) for _ in range(5)))
    assert set(found) == {Principal(ann.id, Role.MEMBER, Role.MEMBER.scopes, key.id)}
    used = accounts.keys.list(ann.id, limit=1).items[0].last_used_at
    assert used is not None and clock.now() - used < timedelta(minutes=1)
    accounts.edit_user(ann.id, {"role": Role.VIEWER})
    assert (await verifier.principal(text)).scopes == {Scope.READ}
    accounts.edit_user(ann.id, {"is_disabled": True})
    with pytest.raises(NotAuthenticated):
        await verifier.principal(text)
    accounts.edit_user(ann.id, {"is_disabled": False})
    await verifier.principal(text)
    accounts.keys.revoke(key.id, ann.id)
    with pytest.raises(NotAuthenticated):
        await verifier.principal(text)


async def test_the_secret_is_hashed_once_and_a_wrong_one_each_time(
    accounts: Accounts, ann: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    hashed: list[str] = []
    right = verifier_module.is_secret

    def is_secret(secret: str, hash_: str) -> bool:
        hashed.append(secret)
        return right(secret, hash_)

    monkeypatch.setattr(verifier_module, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(verifier_module, "is_secret", is_secret)
    verifier = Verifier(database, is_always_needed=True)
    _, text = accounts.add_key(ann, "x")
    for _ in range(3):
        await verifier.principal(text)
    assert len(hashed) == 1
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            await verifier.principal(wrong)
    assert len(hashed) == 3
    # What has no known prefix costs no hash.
    for nothing in ("", "agk_", text.replace("agk_", "agk_x"), "agk_aaaaaaaaaaaa_" + "a" * 43):
        with pytest.raises(NotAuthenticated):
            await verifier.principal(nothing)
    assert len(hashed) == 3


async def test_while_the_database_is_away_who_was_known_stays_known(
    accounts: Accounts, ann: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    verifier, other = (Verifier(database, is_always_needed=False) for _ in range(2))
    await verifier.anonymous()
    _, text = accounts.add_key(ann, "x")
    principal = await verifier.principal(text)

    def away(*_: object) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(verifier_module, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(database, "read", away)
    assert await verifier.principal(text) == principal
    assert await verifier.anonymous() == LOCAL_OWNER
    for ask in (other.principal(text), other.anonymous()):
        with pytest.raises(Unavailable):
            await ask
