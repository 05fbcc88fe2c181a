"""Preferences and targets over REST; secrets are shown once, and addresses never whole."""

from __future__ import annotations

import pytest

from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_preferences_are_changed_and_others_keep_their_defaults(api: Api):
    before = (await api.call("GET", "/notifications/preferences", 200))["frequencies"]
    assert before["execution_failed"] == "hourly"
    body = {"frequencies": {"execution_failed": "daily"}}
    after = await api.call("PUT", "/notifications/preferences", 200, json=body)
    assert after["frequencies"] == before | {"execution_failed": "daily"}
    for wrong in ({"nothing": "daily"}, {"execution_failed": "sometimes"}):
        path, _ = await api.refusal("PUT", "/notifications/preferences", json={"frequencies": wrong})
        assert path.startswith("frequencies")
    assert await api.call("PUT", "/notifications/preferences", 200, json={"frequencies": {}}) == {"frequencies": before}


async def test_a_target_is_added_used_no_more_and_deleted(api: Api):
    address = "https://user:pass@example.org/hooks/s3cr3t"
    made = await api.call("POST", "/notifications/targets", 201, json={"kind": "webhook", "address": address})
    assert made["address"] == "https://example.org/…"
    assert len(made["secret"]) > 30
    path = f"/notifications/targets/{made['id']}"
    (listed,) = (await api.call("GET", "/notifications/targets", 200))["items"]
    assert "secret" not in listed and "s3cr3t" not in str(listed)
    assert (await api.call("PATCH", path, 200, json={"is_enabled": False}))["is_enabled"] is False
    await api.call("DELETE", path, 204)
    await api.call("DELETE", path, 404)
    await api.call("POST", f"{path}/test", 404)


@pytest.mark.parametrize(
    ("kind", "address", "place"),
    [("mail", "nobody", "email"), ("webhook", "http://127.0.0.1/", "address"), ("pigeon", "x", "kind")],
)
async def test_a_target_that_can_be_no_target_is_refused(api: Api, kind: str, address: str, place: str):
    path, _ = await api.refusal("POST", "/notifications/targets", json={"kind": kind, "address": address})
    assert path == place
    assert (await api.call("GET", "/notifications/targets", 200))["items"] == []


async def test_a_test_message_lands(api: Api):
    body = {"kind": "mail", "address": "ann@example.org", "name": "Ann"}
    made = await api.call("POST", "/notifications/targets", 201, json=body)
    await api.call("POST", f"/notifications/targets/{made['id']}/test", 204)
    (path,) = api.settings.mails_dir.glob("*.eml")
    assert b"To: ann@example.org" in path.read_bytes()
    path.unlink()
    await api.call("DELETE", f"/notifications/targets/{made['id']}", 204)
