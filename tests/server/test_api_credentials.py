"""Credentials over REST: taken and never answered; executions and schedules that name wrong ones are refused."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from autogpt_server.model.ids import new_id
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = {"type": "api_key", "api_key": "hush-hush"}
WEB = {
    "in": ("AgentInputBlock", {"name": "key"}),
    "web": ("SendWebRequestBlock", {"url": "http://none.test/"}),
}
LINKED = ["in.result -> web.credentials"]


async def kept(api: Api, **body: Any) -> dict[str, Any]:
    return await api.call("POST", "/credentials", 201, json={"provider": "acme", "secrets": KEY} | body)


def meta(credentials: dict[str, Any]) -> dict[str, Any]:
    return {key: credentials[key] for key in ("id", "provider", "type")}


@pytest_asyncio.fixture(loop_scope="module")
async def graph_id(api: Api) -> str:
    return await api.stored(WEB, LINKED)


async def test_they_are_kept_shown_changed_and_deleted(api: Api) -> None:
    one = await kept(api, title="CI")
    assert (one["provider"], one["type"], one["title"], one["problem"]) == ("acme", "api_key", "CI", None)
    assert (await kept(api))["title"] == "acme"
    path = f"/credentials/{one['id']}"
    assert await api.call("GET", path, 200) == one
    listed = await api.call("GET", "/credentials?limit=500", 200)
    assert one in listed["items"]
    changed = await api.call("PATCH", path, 200, json={"title": "CD", "secrets": KEY | {"api_key": "hush-again"}})
    assert changed == one | {"title": "CD", "updated_at": changed["updated_at"]}
    assert "hush" not in str([one, listed, changed])
    await api.call("DELETE", path, 204)
    await api.call("GET", path, 404)
    await api.call("DELETE", path, 404)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"secrets": KEY}, "provider"),
        ({"provider": "", "secrets": KEY}, "provider"),
        ({"provider": "a", "title": "", "secrets": KEY}, "title"),
        ({"provider": "a"}, "secrets"),
        ({"provider": "a", "secrets": "hush"}, "secrets"),
        ({"provider": "a", "secrets": {"api_key": "hush"}}, "secrets.type"),
        ({"provider": "a", "secrets": {"type": "hush"}}, "secrets.type"),
        ({"provider": "a", "secrets": {"type": "oauth2", "access_token": "hush"}}, "secrets.type"),
        ({"provider": "a", "secrets": {"type": "api_key"}}, "secrets.api_key"),
        ({"provider": "a", "secrets": {"type": "api_key", "api_key": ""}}, "secrets.api_key"),
        ({"provider": "a", "secrets": {"type": "api_key", "api_key": "hush\nhush"}}, "secrets.api_key"),
        ({"provider": "a", "secrets": {"type": "api_key", "api_key": 5, "hush": 1}}, "secrets.api_key"),
        ({"provider": "a", "secrets": {"type": "user_password", "username": "u"}}, "secrets.password"),
        ({"provider": "a", "secrets": {"type": "host_scoped", "host": "h.test", "headers": {}}}, "secrets.headers"),
        (
            {"provider": "a", "secrets": {"type": "host_scoped", "host": "h.test", "headers": {"a b": "hush"}}},
            "secrets.headers.a b.[key]",
        ),
        ({"provider": "a", "secrets": KEY, "hush": "hush"}, "hush"),
        ({"provider": "a", "secrets": {"type": "api_key", "api_key": "hush€"}}, "secrets.api_key"),
        (
            {"provider": "a", "secrets": {"type": "user_password", "username": "a:b", "password": "x"}},
            "secrets.username",
        ),
        (
            {"provider": "a", "secrets": {"type": "host_scoped", "host": "https://h.test/", "headers": {"a": "b"}}},
            "secrets.host",
        ),
        (
            {"provider": "a", "secrets": {"type": "host_scoped", "host": "h.test", "headers": {"Host": "hush"}}},
            "secrets.headers.Host.[key]",
        ),
    ],
)
async def test_what_is_wrong_is_named_and_not_shown(api: Api, body: dict[str, Any], path: str) -> None:
    place, message = await api.refusal("POST", "/credentials", json=body)
    assert place == path
    assert "hush" not in message


async def test_an_execution_that_names_wrong_ones_is_not_accepted(api: Api, graph_id: str) -> None:
    one = await kept(api)
    execute = f"/graphs/{graph_id}/execute"
    assert (await api.call("POST", execute, 202, json={"key": meta(one)}))["status"] == "QUEUED"
    for wrong, said in (
        (meta(one) | {"id": new_id()}, "there are no credentials"),
        (meta(one) | {"id": "guessed"}, "there are no credentials"),
        (meta(one) | {"provider": "other"}, "these credentials are acme, api_key"),
        ("hush-hush", "must say which credentials"),
        ({"id": one["id"]}, "must say which credentials"),
    ):
        place, message = await api.refusal("POST", execute, json={"key": wrong})
        assert place == "key"
        assert said in message
        place, _ = await api.refusal("POST", f"{execute}/batch", json={"inputs": [{"key": meta(one)}, {"key": wrong}]})
        assert place == "inputs[1].key"
    await api.call("POST", execute, 202, json={"key": None})
    # What is meant to be secret is not stored with the inputs.
    place, message = await api.refusal("POST", execute, json={"key": meta(one) | {"api_key": "hush-hush"}})
    assert (place, message) == ("key.api_key", "is unknown")


async def test_a_schedule_gives_them_to_its_executions(api: Api, graph_id: str) -> None:
    one = await kept(api)
    path, body = f"/graphs/{graph_id}/schedules", {"cron": "@yearly", "inputs": {}}
    schedule = await api.call("POST", path, 201, json=body | {"credentials": {"key": meta(one)}})
    ran = await api.call("POST", f"/schedules/{schedule['id']}/run-now", 202)
    assert (await api.call("GET", f"/executions/{ran['id']}", 200))["inputs"] == {"key": meta(one) | {"title": None}}

    for credentials, inputs, place in (
        ({"key": meta(one) | {"id": new_id()}}, {}, "credentials.key"),
        ({"kee": meta(one)}, {"key": meta(one)}, "credentials.kee"),
        ({"key": meta(one)}, {"key": meta(one)}, "credentials.key"),
        ({}, {"key": meta(one) | {"id": new_id()}}, "inputs.key"),
        ({}, {}, "inputs.key"),
    ):
        body = {"cron": "@yearly", "inputs": inputs, "credentials": credentials}
        assert (await api.refusal("POST", path, json=body))[0] == place
    place, message = await api.refusal("POST", path, json={"cron": "@yearly", "credentials": {"key": "hush-hush"}})
    assert place == "credentials.key"
    assert "hush" not in message
    wrong = {"credentials": {"key": meta(one) | {"id": new_id()}}}
    assert (await api.refusal("PATCH", f"/schedules/{schedule['id']}", json=wrong))[0] == "credentials.key"


async def test_the_schema_of_inputs_says_which_of_them_take_credentials(api: Api, graph_id: str) -> None:
    schema = await api.call("GET", f"/graphs/{graph_id}/input_schema", 200)
    assert schema["properties"]["key"]["credentials_providers"] == []
    assert schema["properties"]["key"]["credentials_types"] == []


async def test_without_providers_nobody_connects(api: Api) -> None:
    assert (await api.call("GET", "/credentials/providers", 200))["items"] == []
    problem = await api.call("POST", "/credentials/oauth/acme/start", 404, json={})
    assert "AUTOGPT_OAUTH_PROVIDERS_FILE" in problem["detail"]
    callback = "/credentials/oauth/callback"
    assert (await api.refusal("GET", f"{callback}?state=x&code=y"))[0] == "state"
    # As Google and Keycloak send it.
    more = "scope=read&authuser=0&prompt=consent&session_state=x&iss=http%3A%2F%2Fx"
    assert (await api.refusal("GET", f"{callback}?state=x&code=y&{more}"))[0] == "state"
    refused = f"{callback}?state=x&error=access_denied&error_description=no&{more}"
    assert (await api.refusal("GET", refused))[1] == "said access_denied: no"
    assert (await api.refusal("GET", f"{callback}?state=x"))[0] == "code"
