"""Secrets are struck out of whatever they stand in, in the forms in which programs write them."""

from __future__ import annotations

import base64
import html
import json
from typing import Any, Literal
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogpt_server.model.block import Block, BlockRegistry, BlockSchema
from autogpt_server.model.credentials import (
    CredentialsField,
    CredentialsMetaInput,
    CredentialsPin,
    UsableCredentials,
    as_secret_value,
    credentials_pins,
    from_secret_value,
    parse_secrets,
    written_out,
)
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.model.redaction import MARK, NOTHING_SECRET, Redactor

#: Letters of no other text here.
SECRETS = st.text(alphabet="QZXJ9é€/+&=%\"'<\\ ?", min_size=6, max_size=40)
AROUND = st.text(alphabet="abc:.", max_size=5)


@given(SECRETS, AROUND, AROUND)
def test_nothing_is_left_of_a_secret_in_any_form(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for written in (
        secret,
        json.dumps(secret),
        dumps(secret),
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        urlencode({"x": secret}),
        html.escape(secret),
        repr(secret)[1:-1],
        secret.encode().hex(),
    ):
        text = redactor.text(f"{before}{written}{after}")
        assert MARK in text
        assert text.replace(MARK, "").strip("abc:.\"'x=") == ""
        assert redactor.data(f"{before}{written}{after}".encode()).decode() == text


@given(SECRETS, AROUND, AROUND)
def test_base64_of_something_that_holds_a_secret_does_not_give_it_back(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = redactor.text(encode(f"{before}{secret}{after}".encode()).decode())
        assert MARK in text
        # At most a letter on each side knows something of it.
        shown = text.replace(MARK, "")
        assert len(shown) <= len(encode((before + after).encode())) + 4


def test_values_are_walked_through_with_their_keys() -> None:
    redactor = Redactor(["the-secret", "the-secret-too"])
    value = {"a": ["x the-secret y", {"the-secret-too": 1, "n": None}], "b": (True, 2.5, "clean")}
    assert redactor.value(value) == {"a": ["x *** y", {"***": 1, "n": None}], "b": [True, 2.5, "clean"]}


def test_a_secret_that_became_a_number_is_struck_out() -> None:
    redactor = Redactor(["8273641905"])
    assert redactor.value({"pin": 8273641905, "other": 827364190, "is": True}) == {
        "pin": "***", "other": 827364190, "is": True
    }  # fmt: skip


def test_short_secrets_and_none_leave_everything_alone() -> None:
    for redactor in (NOTHING_SECRET, Redactor(["abc"])):
        assert not redactor
        assert redactor.text("abc") == "abc"
        assert redactor.data(b"abc") == b"abc"
        value = {"abc": object()}
        assert redactor.value(value) is value


class _Input(BlockSchema):
    any: CredentialsMetaInput = CredentialsField("Any.")
    one: CredentialsMetaInput[Literal["acme"], Literal["api_key", "oauth2"]] | None = CredentialsField(
        "Some.", is_optional=True
    )
    text: str = ""


def test_pins_for_credentials_are_found_with_what_they_take() -> None:
    pins = credentials_pins(_Input.model_fields)
    assert pins == {
        "any": CredentialsPin(frozenset(), frozenset()),
        "one": CredentialsPin(frozenset({"acme"}), frozenset({"api_key", "oauth2"})),
    }
    assert pins["any"].refusal("x", "api_key") is None
    assert pins["one"].refusal("acme", "oauth2") is None
    assert "takes acme" in (pins["one"].refusal("x", "oauth2") or "")
    assert "takes api_key or oauth2" in (pins["one"].refusal("acme", "host_scoped") or "")
    parsed = _Input.model_validate({"any": {"id": "1", "provider": "p", "type": "api_key"}})
    assert parsed.one is None


def test_a_pure_block_takes_none() -> None:
    class PureBlock(Block):
        id = "0f0e0d0c-0000-4000-8000-000000000777"
        Input = _Input
        pure = True

    with pytest.raises(ValueError, match="not pure"):
        BlockRegistry([PureBlock])


@pytest.mark.parametrize(
    "held",
    [
        {"type": "api_key", "api_key": "the-key"},
        {"type": "user_password", "username": "ann", "password": "the-password"},
        {"type": "host_scoped", "host": "h.test", "headers": {"X-Key": "Token the-header"}},
        {"type": "oauth2", "access_token": "the-access", "refresh_token": None, "token_type": "bearer"},
    ],
)
def test_what_they_hold_travels_and_shows_nowhere(held: dict[str, Any]) -> None:
    secrets = parse_secrets(held)
    assert written_out(secrets) == held
    usable = UsableCredentials("1", "p", secrets.type, ("a",), held=secrets)
    assert from_secret_value(json.loads(json.dumps(as_secret_value(usable)))) == usable
    shown = repr([secrets, usable]) + str(usable) + secrets.model_dump_json()
    for secret in secrets.secrets():
        assert secret not in shown
    assert all(value for value in usable.headers("http://h.test/").values())
