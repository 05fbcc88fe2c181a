"""The server's keys: made once, readable by their owner alone, never made anew where something needs the old ones."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from autogpt_server.errors import InvalidError
from autogpt_server.settings import Settings
from autogpt_server.vault.keyring import CannotDecrypt, Keyring, key_path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_the_key_is_made_once_whoever_comes_first(settings: Settings):
    keyrings = [Keyring.from_settings(settings) for _ in range(8)]
    threads = [threading.Thread(target=lambda one=one: one.keys) for one in keyrings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(one.keys) for one in keyrings}) == 1
    path = key_path(settings)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert keyrings[0].decrypt(keyrings[1].encrypt("Grüße")) == "Grüße"


def test_a_lost_key_is_not_made_anew_where_something_needs_it(settings: Settings):
    token = Keyring.from_settings(settings).encrypt("secret")
    key_path(settings).unlink()
    with pytest.raises(InvalidError) as refused:
        Keyring.from_settings(settings, lambda: False).decrypt(token)
    (problem,) = refused.value.problems
    assert (problem.path, "put back the file" in (problem.fix or "")) == (str(key_path(settings)), True)
    assert not key_path(settings).exists()
    with pytest.raises(CannotDecrypt, match="its key is not in"):
        Keyring.from_settings(settings).decrypt(token)


def test_a_key_that_others_can_read_is_refused(settings: Settings):
    assert Keyring.from_settings(settings).keys
    key_path(settings).chmod(0o644)
    with pytest.raises(InvalidError) as refused:
        assert Keyring.from_settings(settings).keys
    assert refused.value.problems[0].fix == f"chmod 600 {key_path(settings)}"


def test_a_new_key_in_front_encrypts_and_the_old_one_still_decrypts(settings: Settings):
    keyring = Keyring.from_settings(settings)
    old = keyring.encrypt("a")
    signature = keyring.sign("text", "links")
    keyring.replace([Fernet.generate_key(), *keyring.keys])
    other = Keyring.from_settings(settings)
    assert [keyring.decrypt(old), other.decrypt(old), keyring.decrypt(other.encrypt("b"))] == ["a", "a", "b"]
    assert other.is_signed("text", "links", signature)
    keyring.replace(keyring.keys[:1])
    with pytest.raises(CannotDecrypt):
        other.decrypt(old)
    assert not other.is_signed("text", "links", signature)


def test_a_signature_is_for_one_text_and_one_purpose(settings: Settings):
    keyring = Keyring.from_settings(settings)
    signature = keyring.sign("text", "links")
    assert keyring.is_signed("text", "links", signature)
    for text, purpose, given in (("other", "links", signature), ("text", "else", signature), ("text", "links", "ü")):
        assert not keyring.is_signed(text, purpose, given)


def test_keys_of_a_setting_need_no_file(settings: Settings):
    given = settings.model_copy(update={"secret_keys": SecretStr(Fernet.generate_key().decode())})
    assert Keyring.from_settings(given).decrypt(Keyring.from_settings(given).encrypt("a")) == "a"
    assert not key_path(settings).exists()
    with pytest.raises(InvalidError):
        Keyring.from_settings(given.model_copy(update={"secret_keys": SecretStr("nonsense")})).encrypt("a")
