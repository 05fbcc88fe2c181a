"""All secrets come under a new key, while others write, and whatever interrupts it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data import sealed
from autogpt_server.data.database import Database
from autogpt_server.data.file_lock import FileLock
from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.oauth_logins import OAuthLogin, OAuthLogins
from autogpt_server.data.sealed import COLUMNS, hold_keys, rotate_key, unreadable
from autogpt_server.data.targets import Targets
from autogpt_server.data.users import Users
from autogpt_server.errors import InvalidError, Unavailable
from autogpt_server.model.credentials import ApiKeySecrets, written_out
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.model.notification import Target, TargetKind
from autogpt_server.settings import Settings
from autogpt_server.vault.keyring import Keyring

AT = datetime(2030, 1, 1, tzinfo=UTC)


def secret(text: str) -> ApiKeySecrets:
    return ApiKeySecrets(api_key=SecretStr(text))


@pytest.fixture
def keyring(settings: Settings, database: Database) -> Keyring:
    Users(database).ensure_default()
    return open_keyring(settings, database)


@pytest.fixture
def full(settings: Settings, database: Database, keyring: Keyring) -> CredentialStore:
    """Something in every column that is encrypted."""
    Targets(database, keyring).add(
        Target(new_id(), DEFAULT_USER_ID, TargetKind.WEBHOOK, "x", "https://a.test/", "s", True, AT)
    )
    OAuthLogins(database, keyring).add(OAuthLogin("h", DEFAULT_USER_ID, "acme", "t", (), AT), "verifier")
    store = CredentialStore(settings, database, keyring)
    for i in range(5):
        store.add(DEFAULT_USER_ID, "acme", str(i), secret(f"key-{i}"))
    return store


def tokens(database: Database) -> Iterator[str]:
    with database.read() as c:
        for table, _, column in COLUMNS:
            rows = c.execute(f'SELECT "{column}" FROM "{table}"').all()
            assert rows, f"{table}.{column} is empty"
            yield from (row[0] for row in rows)


def test_everything_comes_under_the_new_key_and_the_old_one_goes(
    database: Database, settings: Settings, keyring: Keyring, full: CredentialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "_BATCH", 2)
    (old,) = keyring.keys
    told: list[str] = []
    assert rotate_key(database, open_keyring(settings, database), told.append) == 8
    (new,) = keyring.keys
    assert new != old
    assert told
    for token in tokens(database):
        Fernet(new).decrypt(token)
        with pytest.raises(InvalidToken):
            Fernet(old).decrypt(token)
    # Whoever had the keyring open all the time reads what is there now.
    found = [full.rows.open(DEFAULT_USER_ID, one.id).held for one in full.rows.list(DEFAULT_USER_ID, limit=9).items]
    assert found == [secret(f"key-{i}") for i in reversed(range(5))]
    assert rotate_key(database, keyring, told.append) == 8


@pytest.mark.parametrize("point", ["keys.added", "keys.renewed", "keys.dropped"])
def test_it_may_be_broken_off_anywhere_and_begun_again(
    database: Database, keyring: Keyring, full: CredentialStore, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == point:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "crash_point", die)
        with pytest.raises(Died):
            rotate_key(database, keyring, lambda _: None)
    for token in tokens(database):
        keyring.decrypt(token)
    rotate_key(database, keyring, lambda _: None)
    assert len(keyring.keys) == 1
    for token in tokens(database):
        keyring.decrypt(token)
    assert len(full.rows.list(DEFAULT_USER_ID, limit=9).items) == 5


def test_nothing_is_lost_that_others_write_meanwhile(
    settings: Settings, database: Database, full: CredentialStore
) -> None:
    stop, written, failed = threading.Event(), dict[str, str](), list[BaseException]()

    def write(number: int) -> None:
        store = CredentialStore(settings, database)
        i = 0
        try:
            while not stop.is_set():
                i += 1
                text = f"key-{number}-{i}"
                kept = store.add(DEFAULT_USER_ID, "acme", text, secret(text))
                changed = f"{text}-changed"
                store.edit(DEFAULT_USER_ID, kept.id, None, secret(changed))
                written[kept.id] = changed
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        rotate_key(database, open_keyring(settings, database), lambda _: None)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert written
    fresh = CredentialStore(settings, database)
    for id_, text in written.items():
        assert fresh.rows.open(DEFAULT_USER_ID, id_).held == secret(text)


def test_whoever_has_encrypted_and_not_committed_is_waited_for(
    settings: Settings, database: Database, keyring: Keyring, full: CredentialStore
) -> None:
    one = full.rows.list(DEFAULT_USER_ID, limit=1).items[0]
    own = open_keyring(settings, database)
    with ThreadPoolExecutor(1) as threads:
        with database.write() as c:
            hold_keys(database, c)
            token = own.encrypt(dumps(written_out(secret("written late"))))
            rotating = threads.submit(rotate_key, database, open_keyring(settings, database), lambda _: None)
            # It has made its key, and cannot end.
            with pytest.raises(TimeoutError):
                rotating.result(0.5)
            c.execute(database.sql('UPDATE "Credential" SET "secret" = ? WHERE "id" = ?'), (token, one.id))
        rotating.result(30)
    assert len(keyring.keys) == 1
    assert full.rows.open(DEFAULT_USER_ID, one.id).held == secret("written late")


def test_two_who_renew_it_at_once_take_turns(
    settings: Settings, database: Database, keyring: Keyring, full: CredentialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(3) as threads:
        both = [
            threads.submit(rotate_key, database, open_keyring(settings, database), lambda _: None) for _ in range(3)
        ]
        assert [one.result(60) for one in both] == [8, 8, 8]
    assert len(keyring.keys) == 1
    for token in tokens(database):
        keyring.decrypt(token)
    monkeypatch.setattr(sealed, "_LOCK_SECONDS", 0.1)
    with FileLock(keyring.path.with_name("rotating.lock")).hold(1), pytest.raises(Unavailable):
        rotate_key(database, keyring, lambda _: None)


def test_who_reads_while_a_key_is_dropped_reads_again(
    database: Database, keyring: Keyring, full: CredentialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Database.read

    @contextmanager
    def read(self: Database) -> Iterator[Any]:
        with real(self) as c:
            yield c
        # Between the row and its key.
        monkeypatch.setattr(Database, "read", real)
        rotate_key(database, keyring, lambda _: None)

    one = full.rows.list(DEFAULT_USER_ID, limit=1).items[0]
    monkeypatch.setattr(Database, "read", read)
    assert full.rows.open(DEFAULT_USER_ID, one.id).held == secret("key-4")


def test_a_text_under_a_lost_key_is_named_and_nothing_is_changed(
    database: Database, settings: Settings, keyring: Keyring, full: CredentialStore
) -> None:
    one = full.rows.list(DEFAULT_USER_ID, limit=1).items[0]
    with database.write() as c:
        stranger = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
        c.execute(database.sql('UPDATE "Credential" SET "secret" = ? WHERE "id" = ?'), (stranger, one.id))
    before = keyring.keys
    assert unreadable(database, keyring) == [f"Credential {one.id}"]
    with pytest.raises(InvalidError, match=one.id):
        rotate_key(database, keyring, lambda _: None)
    assert keyring.keys == before


def test_a_first_key_is_made_where_there_was_none(database: Database, settings: Settings) -> None:
    Users(database).ensure_default()
    assert rotate_key(database, open_keyring(settings, database), lambda _: None) == 0
    given = Keyring(settings.data_dir / "elsewhere" / "none", (Fernet.generate_key().decode(),))
    assert rotate_key(database, given, lambda _: None) == 0


def test_keys_of_the_setting_stay_and_everything_comes_under_the_first(
    database: Database, settings: Settings, keyring: Keyring, full: CredentialStore
) -> None:
    new = Fernet.generate_key().decode()
    text = f"{new},{keyring.keys[0].decode()}"
    given = Keyring(settings.data_dir / "none", tuple(text.split(",")))
    assert rotate_key(database, given, lambda _: None) == 8
    assert rotate_key(database, given, lambda _: None) == 0
    for token in tokens(database):
        Fernet(new).decrypt(token)
    assert len(full.rows.list(DEFAULT_USER_ID, limit=9).items) == 5
