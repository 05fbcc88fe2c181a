"""``autogpt user`` and ``autogpt key``: on the database, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Autogpt = Callable[..., Any]


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, autogpt: Autogpt, sqlite_url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)


def test_users_are_added_changed_and_disabled(autogpt: Autogpt):
    added = json.loads(autogpt("user", "add", "ann@example.org", "--name", "Ann", "--json").out)
    assert (added["role"], added["timezone"], added["is_disabled"]) == ("member", "UTC", False)
    again = autogpt("user", "add", "ann@example.org")
    assert (again.code, "already" in again.err) == (2, True)
    changed = autogpt("user", "edit", "ann@example.org", "--timezone", "Europe/Berlin", "--role", "owner", "--json")
    assert json.loads(changed.out) == added | {"timezone": "Europe/Berlin", "role": "owner"}
    wrong = autogpt("user", "edit", "ann@example.org", "--timezone", "Mars/Base")
    assert (wrong.code, "IANA" in wrong.err) == (2, True)
    assert autogpt("user", "disable", added["id"]).out == "ann@example.org is disabled; 0 schedules were paused.\n"
    assert "disabled" in autogpt("user", "list").out
    assert autogpt("user", "enable", "ann@example.org").code == 0
    assert json.loads(autogpt("user", "show", "ann@example.org", "--json").out)["is_disabled"] is False
    missing = autogpt("user", "show", "nobody@example.org")
    assert (missing.code, "not found" in missing.err) == (2, True)


def test_keys_are_shown_once_and_revoked(autogpt: Autogpt):
    made = autogpt("key", "add", "laptop", "--scope", "read", "--days", "30")
    text = made.out.strip()
    assert text.startswith("agk_") and "not shown again" in made.err
    (key,) = json.loads(autogpt("key", "list", "--json").out)
    assert (key["name"], key["scopes"]) == ("laptop", ["read"])
    listed = autogpt("key", "list").out
    assert "expires" in listed and text not in listed
    assert autogpt("key", "revoke", key["id"]).out == "laptop is revoked.\n"
    assert "revoked" in autogpt("key", "list", "--user", "default@localhost").out
    autogpt("user", "add", "eve@example.org", "--role", "viewer")
    refused = autogpt("key", "add", "x", "--user", "eve@example.org", "--scope", "write")
    assert (refused.code, "viewer" in refused.err) == (2, True)
