"""What no client should send: every one is answered with a problem that names the place, and nothing is stored."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from autogpt_server.data.pages import encode_cursor
from autogpt_server.errors import Unavailable
from autogpt_server.model.ids import new_id
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Routes that read a body, and how a graph is nested in it.
BODIES = ["/graphs", "/graphs/{id}/execute", "/graphs/{id}/execute/batch", "/blocks/ValueBlock/execute"]


async def send(api: Api, path: str, content: bytes, status: int = 422) -> tuple[str, str]:
    return await api.refusal("POST", path.format(id=await api.stored()), status, content=content)


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_nested_100_000_deep_is_refused_with_the_limit(api: Api, path: str):
    place, message = await send(api, path, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert place == "body" and "100" in message


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b'{"a": {"b": [1, "x\\u0000"]}}', "a.b[1]", "NUL"),
        (b'{"a": {"b\\u0000": 1}}', "a", "NUL"),
        (b'{"a": ["\\ud800"]}', "a[0]", "surrogate"),
        (b'{"a": {"\\udfff": 1}}', "a", "surrogate"),
        (b'{"a": NaN}', "a", "nan"),
        (b'{"a": [-Infinity]}', "a[0]", "inf"),
        (b'{"a": 1e999}', "a", "inf"),
        (b'{"a": "\xff"}', "body", "UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "body", "UTF-8"),
        (b'{"a": 1', "body", "JSON"),
        (b'{"a": 1} 2', "body", "JSON"),
        (b"[]", "body", "object"),
        (b'"text"', "body", "object"),
    ],
)
async def test_what_cannot_be_stored_is_refused_by_place(api: Api, path: str, content: bytes, place: str, message: str):
    found = await send(api, path, content)
    if path == "/graphs" and message == "object":
        assert "no graph" in found[1]
    else:
        assert found[0] == place
        assert message.lower() in found[1].lower()


async def test_an_integer_beyond_all_limits_is_refused(api: Api):
    place, message = await send(api, "/graphs/{id}/execute", b'{"a": ' + b"9" * 5000 + b"}")
    assert place in ("a", "body") and "number" in message


async def test_an_empty_body_is_no_graph(api: Api):
    assert await send(api, "/graphs", b"  ") == ("body", "is empty")


@pytest.mark.parametrize("body", [None, [], "x", 5, {}, {"graph": 1}, {"nodes": 1}, {"nodes": [None], "links": [7]}])
async def test_a_graph_of_a_wrong_shape_is_refused(api: Api, body: Any):
    await api.call("POST", "/graphs", 422, json=body)


@pytest.mark.parametrize("bad_id", ["1", "x" * 5000, "00000000-0000-0000-0000-00000000000g", "%C3%A9", "null"])
async def test_ids_in_the_address_that_are_no_uuids_are_refused_by_name(api: Api, bad_id: str):
    for method, path in (
        ("GET", f"/graphs/{bad_id}"),
        ("DELETE", f"/graphs/{bad_id}"),
        ("GET", f"/graphs/{bad_id}/versions"),
        ("GET", f"/graphs/{bad_id}/executions"),
        ("POST", f"/graphs/{bad_id}/execute"),
    ):
        place, message = await api.refusal(method, path)
        assert place == "graph_id" and "UUID" in message
    assert (await api.refusal("GET", f"/executions/{bad_id}"))[0] == "execution_id"
    assert (await api.refusal("POST", f"/executions/{bad_id}/stop"))[0] == "execution_id"


async def test_unknown_ids_are_not_found(api: Api):
    for path in (
        "/graphs/{}",
        "/graphs/{}/versions/1",
        "/graphs/{}/executions",
        "/executions/{}",
        "/executions/{}/events",
    ):
        problem = await api.call("GET", path.format(new_id()), 404)
        assert problem["type"] == "urn:autogpt:problem:not-found"


@pytest.mark.parametrize("version", ["0", "-1", "x", str(2**31), "9" * 30, "1.5"])
async def test_versions_that_cannot_be_are_refused_by_name(api: Api, version: str):
    graph_id = await api.stored()
    assert (await api.refusal("GET", f"/graphs/{graph_id}/versions/{version}"))[0] == "version"
    assert (await api.refusal("POST", f"/graphs/{graph_id}/execute?version={version}"))[0] == "version"


@pytest.mark.parametrize(
    ("method", "path", "name", "fix"),
    [
        ("GET", "/graphs?limt=5", "limt", "did you mean 'limit'?"),
        ("GET", "/blocks?limit=5&Cursor=x", "Cursor", "did you mean 'cursor'?"),
        ("GET", "/executions?offset=3", "offset", "there is: cursor, limit"),
        ("POST", "/graphs/{id}/execute?verison=2", "verison", "did you mean 'version'?"),
        ("POST", "/graphs/{id}/execute?", "", ""),
        ("POST", "/graphs/{id}/execute/batch?prio=1", "prio", "did you mean 'priority'?"),
        ("GET", "/executions/{id}/events?aftr=5", "aftr", "did you mean 'after'?"),
        ("POST", "/executions/{id}/stop?force=1", "force", "remove it"),
        ("POST", "/graphs?new_id=1", "new_id", "did you mean 'new_ids'?"),
        ("GET", "/health?x=", "x", "remove it"),
        ("GET", "/graphs?=5", '""', "there is: cursor, limit"),
        ("GET", "/graphs?limit=5&limit=6", "limit", "give it once"),
    ],
)
async def test_query_parameters_that_nothing_reads_are_refused_by_name(
    api: Api, method: str, path: str, name: str, fix: str
):
    path = path.format(id=await api.stored())
    if not name:
        await api.call(method, path, 202)
        return
    problem = await api.call(method, path, 422, json={"inputs": [{}]} if method == "POST" else None)
    assert [(error["path"], error["fix"]) for error in problem["errors"]] == [(name, fix)]


@pytest.mark.parametrize(
    ("method", "path", "body", "place", "fix"),
    [
        ("POST", "/graphs/{id}/execute/batch", {"inputs": [{}], "imputs": []}, "imputs", "did you mean 'inputs'?"),
        ("PUT", "/graphs/{id}/versions/active", {"active_graph_version": 1, "x": 1}, "x", "there is: active"),
        ("POST", "/executions/{id}/rerun", {"input": {}}, "input", "did you mean 'inputs'?"),
        ("POST", "/blocks/WriteFileBlock/execute", {"path": "a", "content": "", "contnt": ""}, "contnt", "'content'"),
        ("POST", "/graphs/{id}/execute/batch", {"inputs": [{}], "": 1}, '""', "there is: inputs"),
    ],
)
async def test_fields_that_nothing_reads_are_refused_by_name(
    api: Api, method: str, path: str, body: Any, place: str, fix: str
):
    problem = await api.call(method, path.format(id=await api.stored()), 422, json=body)
    assert [error["path"] for error in problem["errors"]] == [place]
    assert problem["errors"][0]["message"] == "is unknown" and fix in problem["errors"][0]["fix"]


@pytest.mark.parametrize(
    ("path", "place", "message", "fix"),
    [
        ("/graphs?limit=501", "limit", 'is "501", but must be at most 500', "give at most 500"),
        ("/graphs?limit=x", "limit", 'is "x", but must be a whole number', "give a whole number"),
        ("/graphs/1", "graph_id", "'1' is no UUID", "write it with its dashes, like 01234567-89ab-"),
        ("/executions?cursor=!", "cursor", "it is not a cursor of this list", "use next_cursor of the page before"),
    ],
)
async def test_a_bad_parameter_is_told_with_what_to_send_instead(
    api: Api, path: str, place: str, message: str, fix: str
):
    (error,) = (await api.call("GET", path, 422))["errors"]
    assert (error["path"], error["message"]) == (place, message)
    assert error["fix"].startswith(fix)


@pytest.mark.parametrize("value", ["101", "-101", "x", "1.5", "", "true"])
async def test_a_priority_out_of_its_range_is_refused_with_a_fix(api: Api, value: str):
    graph_id = await api.stored()
    for path in (f"/graphs/{graph_id}/execute", f"/graphs/{graph_id}/execute/batch", f"/executions/{new_id()}/rerun"):
        assert (await api.refusal("POST", f"{path}?priority={value}", json={}))[0] == "priority"


@pytest.mark.parametrize(
    ("key", "message"),
    [("", "is empty"), ("k" * 256, "has 256 characters, the limit is 255"), ("a\tb", "cannot be printed")],
)
async def test_a_bad_idempotency_key_is_refused_with_the_reason(api: Api, key: str, message: str):
    path = f"/graphs/{await api.stored()}/execute"
    place, told = await api.refusal("POST", path, json={}, headers={"Idempotency-Key": key})
    assert place == "Idempotency-Key" and message in told


@pytest.mark.parametrize("seen", ["x", "-1", "1.5", "9" * 30])
async def test_a_bad_position_of_events_is_refused_by_name(api: Api, seen: str):
    path = f"/executions/{new_id()}/events"
    assert (await api.refusal("GET", path, headers={"Last-Event-ID": seen}))[0] == "last-event-id"
    assert (await api.refusal("GET", f"{path}?after={seen}"))[0] == "after"


@pytest.mark.parametrize("wrong", [True, "3", 1.5, [1], {}, 0, 2**31])
async def test_what_is_no_whole_number_is_none_in_any_body(api: Api, wrong: Any):
    graph_id = await api.stored()
    body = {"active_graph_version": wrong}
    assert (await api.refusal("PUT", f"/graphs/{graph_id}/versions/active", json=body))[0] == "active_graph_version"
    body = {"graph_version": wrong}
    assert (await api.refusal("POST", f"/executions/{new_id()}/rerun", json=body))[0] == "graph_version"


@pytest.mark.parametrize(
    ("place", "wrong"),
    [("policy.timeout_seconds", wrong) for wrong in (True, "60", 0, -1, 1e12, [1])]
    + [("policy.max_concurrent_executions", wrong) for wrong in (True, "3", 0, 1.5)]
    + [("nodes[0].policy.timeout_seconds", wrong) for wrong in (True, "60")]
    + [
        (f"nodes[0].policy.retry.{name}", wrong)
        for name in ("attempts", "delay_seconds", "factor", "max_delay_seconds", "jitter")
        for wrong in (True, "3", -1, None)
    ],
)
async def test_a_policy_takes_no_text_and_no_boolean_for_a_number(api: Api, place: str, wrong: Any):
    graph = api.graph()
    part = graph["nodes"][0] if place.startswith("nodes") else graph
    *names, last = place.removeprefix("nodes[0].").split(".")
    for name in names:
        part[name] = part.get(name) or {}
        part = part[name]
        if name == "retry":
            part["attempts"] = 2
    part[last] = wrong
    found, message = await api.refusal("POST", "/graphs", json=graph)
    assert found == place and "must be" in message


async def test_errors_of_a_retry_policy_are_a_list(api: Api):
    graph = api.graph()
    graph["nodes"][0]["policy"] = {"retry": {"attempts": 2, "errors": "x"}, "retries": 3}
    problem = await api.call("POST", "/graphs", 422, json=graph)
    told = [(error["path"], error["message"], error["fix"]) for error in problem["errors"]]
    assert told == [
        ("nodes[0].policy.retry.errors", 'is "x", but must be a list', "give a list"),
        ("nodes[0].policy.retries", "is unknown", "did you mean 'retry'?"),
    ]


@pytest.mark.parametrize("limit", ["0", "501", "-1", "x", "", "9" * 30])
async def test_limits_of_pages_that_cannot_be_are_refused_by_name(api: Api, limit: str):
    for path in ("/graphs", "/executions", "/blocks"):
        assert (await api.refusal("GET", f"{path}?limit={limit}"))[0] == "limit"


CURSORS = {
    "no base64": "!!",
    "no JSON": base64.urlsafe_b64encode(b"{").decode(),
    "too long": "a" * 5000,
    "a NUL": encode_cursor("\0"),
    "a NUL in a list": encode_cursor(["2026-01-01T00:00:00+00:00", "\0"]),
    "a huge number": encode_cursor(2**70),
    "an object": encode_cursor({"a": 1}),
    "null": encode_cursor(None),
    "true": encode_cursor(True),
    "a fraction": encode_cursor(0.5),
    "not a character": "é",
}


@pytest.mark.parametrize("cursor", CURSORS.values(), ids=CURSORS.keys())
async def test_forged_cursors_are_refused_by_name(api: Api, cursor: str):
    graph_id = await api.stored()
    execution = await api.call("POST", f"/graphs/{graph_id}/execute", 202)
    for path in (
        "/blocks",
        "/graphs",
        "/executions",
        f"/graphs/{graph_id}/versions",
        f"/graphs/{graph_id}/executions",
        f"/executions/{execution['id']}",
    ):
        assert (await api.refusal("GET", path, params={"cursor": cursor}))[0] == "cursor", path


async def test_cursors_of_another_list_are_refused_by_name_or_lead_nowhere(api: Api):
    graph_id = await api.stored()
    for cursor in (encode_cursor(3), encode_cursor("x"), encode_cursor(["x", "y"]), encode_cursor([])):
        for path in ("/blocks", "/graphs", "/executions", f"/graphs/{graph_id}/versions"):
            answer = await api.http.get(f"/api{path}", params={"cursor": cursor})
            assert answer.status_code in (200, 422)
            if answer.status_code == 422:
                assert answer.json()["errors"][0]["path"] == "cursor"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/api/blocks/a%00b", "path"),
        ("/api/graphs/%00", "path"),
        ("/api/graphs?cursor=a%00", "cursor"),
        ("/api/graphs?x=1&a%00=b", "a\ufffd"),
    ],
)
async def test_a_nul_in_the_address_is_refused_by_place(api: Api, path: str, place: str):
    answer = await api.http.get(path)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, place)


@pytest.mark.parametrize("name", ["%ED%A0%80", "%FF%FE", "%F0%9F%98%80"])
async def test_addresses_that_are_no_unicode_are_only_unknown(api: Api, name: str):
    await api.call("GET", f"/blocks/{name}", 404)
    assert (await api.refusal("GET", f"/graphs/{name}"))[0] == "graph_id"
    assert (await api.refusal("GET", f"/graphs?cursor={name}"))[0] == "cursor"


async def test_unknown_paths_and_methods_are_problems_too(api: Api):
    assert (await api.call("GET", "/nowhere", 404))["type"] == "urn:autogpt:problem:no-such-path"
    assert (await api.call("GET", "/graphs/", 404))["type"] == "urn:autogpt:problem:no-such-path"
    answer = await api.http.patch("/api/graphs")
    assert answer.status_code == 405
    assert answer.json()["type"] == "urn:autogpt:problem:method-not-allowed"
    assert "GET" in answer.headers["allow"]


async def test_a_body_above_the_limit_is_refused_before_and_while_it_is_read(api: Api):
    # given a body whose length is announced, and one in pieces
    size = api.settings.max_body_bytes + 1

    async def pieces():
        for _ in range(0, size, 1 << 20):
            yield b" " * (1 << 20)

    for content in (b" " * size, pieces()):
        answer = await api.http.post("/api/graphs", content=content)
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:autogpt:problem:too-large"
        assert f"{api.settings.max_body_bytes:,}" in answer.json()["detail"]


async def test_a_body_of_exactly_the_limit_is_read(api: Api):
    content = b" " * (api.settings.max_body_bytes - 2) + b"{}"
    assert (await api.http.post("/api/graphs", content=content)).status_code == 422


async def test_an_error_nobody_expected_tells_an_id_and_nothing_else(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("autogpt_server.data.graphs.list_graphs", fail)

    problem = await api.call("GET", "/graphs", 500)

    assert problem["type"] == "urn:autogpt:problem:internal"
    assert "secret" not in str(problem) and "Traceback" not in str(problem)
    record = next(record for record in caplog.records if record.exc_info)
    assert record.getMessage().partition("(")[2].rstrip(")") in problem["detail"]


async def test_a_database_that_is_away_is_said_with_the_time_to_ask_again(api: Api, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr("autogpt_server.data.executions.Executions.get", fail)
    answer = await api.http.get(f"/api/executions/{new_id()}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:autogpt:problem:unavailable"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost@evil", "[", ""]
)
async def test_requests_by_a_foreign_name_are_refused(api: Api, host: str):
    answer = await api.http.get("/api/blocks", headers={"Host": host})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:autogpt:problem:forbidden")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.9.9.9", "[::1]:8000"])
async def test_every_name_of_this_machine_is_answered(api: Api, host: str):
    assert (await api.http.get("/api/blocks?limit=1", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1.evil.example", ""]
)
async def test_pages_of_other_sites_are_refused(api: Api, origin: str):
    for method in ("GET", "POST", "OPTIONS"):
        answer = await api.http.request(
            method, "/api/graphs", headers={"Host": "localhost:8000", "Origin": origin}, content=b"{}"
        )
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:autogpt:problem:forbidden")
        assert "access-control-allow-origin" not in answer.headers


async def test_our_own_page_is_answered(api: Api):
    headers = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
    assert (await api.http.get("/api/graphs", headers=headers)).status_code == 200


async def test_nothing_of_a_refused_graph_is_stored(api: Api):
    before = await api.services.prisma.agentgraph.count()
    graph = api.graph()
    graph["name"] = "x\0"
    assert (await api.refusal("POST", "/graphs", json=graph))[0] == "name"
    graph["name"], graph["nodes"][1] = "x", {"id": new_id(), "block_name": "NoSuchBlock"}
    await api.call("POST", "/graphs", 422, json=graph)
    assert await api.services.prisma.agentgraph.count() == before


async def test_an_input_with_an_empty_name_is_refused_at_a_place(api: Api):
    graph_id = await api.stored({"in": ("AgentInputBlock", {"name": "n", "value": 1})}, [])
    assert (await api.refusal("POST", f"/graphs/{graph_id}/execute", json={"": 1}))[0] == '""'
