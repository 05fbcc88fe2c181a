from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from autogpt_server.data import graphs
from autogpt_server.executor.submit import MAX_BATCH
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import new_id
from tests.make_graph import node_id
from tests.server.conftest import Api, Nodes

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO: tuple[Nodes, list[str]] = (
    {
        "in": ("AgentInputBlock", {"name": "who", "value": "nobody"}),
        "out": ("AgentOutputBlock", {"name": "text"}),
    },
    ["in.result -> out.value"],
)


async def events(api: Api, execution_id: str, **more: Any) -> list[tuple[str | None, dict[str, Any]]]:
    """Read a stream to its end: (id, event) pairs."""
    answer = await api.http.get(f"/api/executions/{execution_id}/events", timeout=20, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found: list[tuple[str | None, dict[str, Any]]] = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("id"), json.loads(fields["data"])))
    return found


async def test_an_execution_is_accepted_run_and_told_in_full(running: Api):
    api = running
    graph_id = await api.stored(*ECHO)

    answer = await api.http.post(f"/api/graphs/{graph_id}/execute", json={"who": 10**30})
    execution = await api.ended(answer.json()["id"])

    assert answer.status_code == 202
    assert answer.json() == {"id": execution["id"], "status": "QUEUED"}
    assert answer.headers["location"] == f"/api/executions/{execution['id']}"
    assert (execution["status"], execution["error"]) == ("COMPLETED", None)
    assert (execution["graph_id"], execution["graph_version"], execution["attempt"]) == (graph_id, 1, 1)
    assert execution["deaths"] == 0
    assert execution["inputs"] == {"who": 10**30}
    assert execution["outputs"] == {"text": [10**30]}
    assert execution["stats"]["node_executions"] == 2
    assert all(execution[key].endswith("Z") for key in ("created_at", "started_at", "ended_at"))
    nodes = execution["node_executions"]["items"]
    assert [(n["sequence"], n["node_id"], n["block_name"], n["status"]) for n in nodes] == [
        (1, node_id("in"), "AgentInputBlock", "COMPLETED"),
        (2, node_id("out"), "AgentOutputBlock", "COMPLETED"),
    ]
    assert nodes[0]["output_data"] == {"result": [10**30]}
    assert nodes[1]["input_data"]["value"] == 10**30
    assert set(nodes[0]) >= {"id", "error", "attempt", "queued_at", "started_at", "ended_at"}
    assert execution["node_executions"]["next_cursor"] is None


async def test_pages_of_node_executions_join_up(running: Api):
    api = running
    graph_id = await api.stored(
        {"each": ("ListIteratorBlock", {"items": list(range(5))}), "show": ("PrintToConsoleBlock", {})},
        ["each.item -> show.text"],
    )
    accepted = await api.call("POST", f"/graphs/{graph_id}/execute", 202)
    await api.ended(accepted["id"])

    sequences: list[int] = []
    cursor: str | None = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = await api.call("GET", f"/executions/{accepted['id']}", 200, params={"limit": 2, **more})
        sequences += [node["sequence"] for node in page["node_executions"]["items"]]
        cursor = page["node_executions"]["next_cursor"]
        if cursor is None:
            break
    assert sequences == [1, 2, 3, 4, 5, 6]


async def test_no_body_means_no_inputs_and_an_older_version_may_be_named(api: Api):
    graph = api.graph(*ECHO)
    for _ in range(2):
        await api.call("POST", "/graphs", 201, json=graph)
    accepted = await api.call("POST", f"/graphs/{graph['id']}/execute?version=1", 202)
    execution = await api.call("GET", f"/executions/{accepted['id']}", 200)
    assert (execution["graph_version"], execution["inputs"], execution["status"]) == (1, {}, "QUEUED")
    assert (execution["outputs"], execution["ended_at"]) == ({}, None)


async def test_the_same_idempotency_key_answers_with_the_same_execution(api: Api):
    graph_id = await api.stored(*ECHO)
    headers = {"Idempotency-Key": new_id()}

    ids = await asyncio.gather(
        *(api.call("POST", f"/graphs/{graph_id}/execute", 202, json={"who": 1}, headers=headers) for _ in range(5))
    )

    assert len({one["id"] for one in ids}) == 1
    assert len((await api.call("GET", f"/graphs/{graph_id}/executions", 200))["items"]) == 1
    await api.call("POST", f"/graphs/{graph_id}/execute", 409, json={"who": 2}, headers=headers)


@pytest.mark.parametrize("key", ["", "k" * 256, "\u00ad"])
async def test_a_bad_idempotency_key_is_refused_by_name(api: Api, key: str):
    graph_id = await api.stored(*ECHO)
    headers = {"Idempotency-Key": key.encode("latin-1")}
    path, _ = await api.refusal("POST", f"/graphs/{graph_id}/execute", json={}, headers=headers)
    assert path.lower() == "idempotency-key"


async def test_unknown_inputs_are_refused_by_name(api: Api):
    graph_id = await api.stored(*ECHO)
    path, _ = await api.refusal("POST", f"/graphs/{graph_id}/execute", json={"whom": 1})
    assert path == "whom"


async def test_a_batch_is_accepted_in_order(api: Api):
    graph_id = await api.stored(*ECHO)
    batch = {"inputs": [{"who": i} for i in range(20)]}
    ids = (await api.call("POST", f"/graphs/{graph_id}/execute/batch", 202, json=batch))["ids"]
    listed = (await api.call("GET", f"/graphs/{graph_id}/executions", 200))["items"]
    assert {one["id"]: one["inputs"]["who"] for one in listed} == {id: i for i, id in enumerate(ids)}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": [{"who": 1}, 5]}, "inputs[1]"),
        ({"inputs": [{"who": 1}, {"whom": 2}]}, "inputs[1].whom"),
        ({"inputs": [{}] * (MAX_BATCH + 1)}, "inputs"),
    ],
    ids=["missing", "empty", "no list", "no object", "unknown input", "too many"],
)
async def test_a_bad_batch_is_refused_whole(api: Api, body: dict[str, Any], place: str):
    graph_id = await api.stored(*ECHO)
    path, _ = await api.refusal("POST", f"/graphs/{graph_id}/execute/batch", json=body)
    assert path == place
    assert (await api.call("GET", f"/graphs/{graph_id}/executions", 200))["items"] == []


async def test_pages_of_executions_stay_stable_while_new_ones_come(api: Api):
    graph_id = await api.stored(*ECHO)
    batch = {"inputs": [{"who": i} for i in range(5)]}
    ids = (await api.call("POST", f"/graphs/{graph_id}/execute/batch", 202, json=batch))["ids"]
    for path in (f"/graphs/{graph_id}/executions", "/executions"):
        first = await api.call("GET", f"{path}?limit=2", 200)
        await api.call("POST", f"/graphs/{await api.stored(*ECHO)}/execute", 202)
        second = await api.call("GET", path, 200, params={"limit": 3, "cursor": first["next_cursor"]})
        if path != "/executions":
            assert [one["id"] for one in first["items"] + second["items"]] == ids[::-1]
        assert {one["id"] for one in first["items"]}.isdisjoint({one["id"] for one in second["items"]})


async def test_an_execution_that_has_not_started_is_stopped_at_once(api: Api):
    graph_id = await api.stored(*ECHO)
    accepted = await api.call("POST", f"/graphs/{graph_id}/execute", 202)
    for _ in range(2):
        assert (await api.call("POST", f"/executions/{accepted['id']}/stop", 200))["status"] == "TERMINATED"


async def test_a_running_execution_is_stopped_within_a_moment(running: Api):
    graph_id = await running.stored({"wait": ("WaitBlock", {"seconds": 600})}, [])
    accepted = await running.call("POST", f"/graphs/{graph_id}/execute", 202)
    await running.call("POST", f"/executions/{accepted['id']}/stop", 200)
    assert (await running.ended(accepted["id"]))["status"] == "TERMINATED"


async def test_another_users_execution_is_not_found(api: Api):
    execution_id = await _execution_of_another_user(api)
    for method, path in (("GET", ""), ("POST", "/stop"), ("POST", "/pause"), ("POST", "/resume"), ("GET", "/events")):
        await api.call(method, f"/executions/{execution_id}{path}", 404)
    assert execution_id not in [e["id"] for e in (await api.call("GET", "/executions", 200))["items"]]


async def test_events_tell_every_node_and_end_with_the_final_status(running: Api):
    graph_id = await running.stored(*ECHO)
    accepted = await running.call("POST", f"/graphs/{graph_id}/execute", 202, json={"who": "you"})

    found = await events(running, accepted["id"])

    told = [event for _, event in found]
    assert [event["sequence"] for event in told] == sorted(event["sequence"] for event in told)
    # A stream may also have caught a node while it ran.
    ended = [e["execution"] for e in told if e["type"] == "node_execution" and e["execution"]["sequence"]]
    assert [(one["block_name"], one["status"]) for one in ended] == [
        ("AgentInputBlock", "COMPLETED"),
        ("AgentOutputBlock", "COMPLETED"),
    ]
    assert (told[-1]["type"], told[-1]["execution"]["status"]) == ("graph_execution", "COMPLETED")
    assert told[-1]["execution"]["outputs"] == {"text": ["you"]}
    assert all(event_id in (None, str(event["sequence"])) for event_id, event in found)
    assert found[-1][0] == str(told[-1]["sequence"])


async def test_a_client_that_comes_back_gets_what_it_missed_and_nothing_twice(running: Api):
    graph_id = await running.stored(
        {"each": ("ListIteratorBlock", {"items": list(range(30))}), "write": ("WriteFileBlock", {"path": "n.txt"})},
        ["each.item -> write.content"],
    )
    accepted = await running.call("POST", f"/graphs/{graph_id}/execute", 202)
    await running.ended(accepted["id"])
    everything = await events(running, accepted["id"])

    # when it was cut off after any event; it remembers the last id it saw
    for cut in range(0, len(everything) - 1, 7):
        seen = everything[: cut + 1]
        last_id = next((event_id for event_id, _ in reversed(seen) if event_id), None)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        missed = [event for _, event in await events(running, accepted["id"], headers=headers)]

        # then together they are everything, and only an unfinished revision came twice
        assert all(event["sequence"] > int(last_id or -1) for event in missed)
        keys = {json.dumps(event) for _, event in seen} | {json.dumps(event) for event in missed}
        assert keys == {json.dumps(event) for _, event in everything}


async def test_who_has_seen_the_end_is_told_not_to_come_back(running: Api):
    graph_id = await running.stored(*ECHO)
    accepted = await running.call("POST", f"/graphs/{graph_id}/execute", 202)
    last = (await events(running, accepted["id"]))[-1][1]["sequence"]
    for more in ({"headers": {"Last-Event-ID": str(last)}}, {"params": {"after": last}}):
        answer = await running.http.get(f"/api/executions/{accepted['id']}/events", **more)
        assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("value", ["x", "-2", "1.5", str(2**31)])
async def test_a_bad_last_event_id_is_refused_by_name(api: Api, value: str):
    path, _ = await api.refusal("GET", f"/executions/{new_id()}/events", headers={"Last-Event-ID": value})
    assert path == "last-event-id"
    path, _ = await api.refusal("GET", f"/executions/{new_id()}/events", params={"after": value})
    assert path == "after"


async def _execution_of_another_user(api: Api) -> str:
    other = new_id()
    await api.services.prisma.user.create(data={"id": other, "email": f"{other}@localhost"})
    graph = await graphs.create_graph(api.services.prisma, other, Graph.model_validate(api.graph(*ECHO)))
    return (await api.services.submitter.submit(other, graph.id, {}))[0]
