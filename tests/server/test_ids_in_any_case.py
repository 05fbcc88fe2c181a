"""UUIDs are read in any case and kept in lower case, wherever they stand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from autogpt_server.model.ids import new_id
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.server.websocket.messages import parse_message
from tests.make_graph import node_id
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def shouted(document: dict[str, Any]) -> dict[str, Any]:
    """Write every UUID in a document in upper case."""
    return loads(_UUID.sub(lambda found: found[0].upper(), dumps(document)))


async def test_a_graph_with_ids_in_upper_case_is_kept_in_lower_case(api: Api):
    graph = api.graph()

    stored = await api.call("POST", "/graphs", 201, json=shouted(graph))

    assert (stored["id"], stored["links"]) == (graph["id"], graph["links"])
    assert [node["id"] for node in stored["nodes"]] == [node["id"] for node in graph["nodes"]]
    again = await api.call("PUT", f"/graphs/{graph['id'].upper()}", 200, json=shouted(graph))
    assert (again["id"], again["version"]) == (graph["id"], 2)


async def test_two_nodes_whose_ids_differ_in_case_only_have_the_same_id(api: Api):
    graph = api.graph()
    first, second = graph["nodes"]
    second["id"] = first["id"].upper()
    graph["links"] = []
    assert "is there twice" in (await api.refusal("POST", "/graphs", json=graph))[1]


async def test_a_graph_is_found_by_its_id_in_any_case(api: Api):
    graph_id = await api.stored()
    shouted_id = graph_id.upper()
    for path in ("", "/versions", "/versions/1", "/input_schema", "/executions"):
        found = await api.call("GET", f"/graphs/{shouted_id}{path}", 200)
        assert found == await api.call("GET", f"/graphs/{graph_id}{path}", 200)
    await api.call("DELETE", f"/graphs/{shouted_id}", 204)
    await api.call("GET", f"/graphs/{graph_id}", 404)


@pytest.mark.parametrize("query", ["", "?version=1"], ids=["quick lane", "framework"])
async def test_executions_are_accepted_and_found_by_ids_in_any_case(running: Api, query: str):
    api = running
    graph_id = await api.stored()

    accepted = await api.call("POST", f"/graphs/{graph_id.upper()}/execute{query}", 202)
    await api.call("POST", f"/graphs/{graph_id.upper()}/execute/batch", 202, json={"inputs": [{}]})
    execution = await api.ended(accepted["id"].upper())

    assert (execution["id"], execution["graph_id"]) == (accepted["id"], graph_id)
    position = execution["revision"]
    for seen in ("?after=0", f"?after={position - 1}&"):
        events = await api.http.get(f"/api/executions/{accepted['id'].upper()}/events{seen}")
        assert events.status_code == 200 and f"id: {position}" in events.text
    assert (await api.call("POST", f"/executions/{accepted['id'].upper()}/stop", 200))["id"] == accepted["id"]
    again = await api.call(
        "POST", f"/executions/{accepted['id'].upper()}/rerun", 202, json={"from_node_id": node_id("a").upper()}
    )
    assert (await api.ended(again["id"]))["rerun_from_node_id"] == node_id("a")


async def test_a_graph_is_executed_by_a_node_that_names_it_in_upper_case(running: Api):
    inner = await running.stored()
    outer = await running.stored({"call": ("AgentExecutorBlock", {"graph_id": inner.upper(), "inputs": {}})}, [])

    accepted = await running.call("POST", f"/graphs/{outer}/execute", 202)

    assert (await running.ended(accepted["id"]))["status"] == "COMPLETED"


async def test_a_block_is_found_by_its_id_in_any_case(api: Api):
    block_id = api.registry.get("ValueBlock").id
    assert (await api.call("GET", f"/blocks/{block_id.upper()}", 200))["name"] == "ValueBlock"
    graph = api.graph()
    for node in graph["nodes"]:
        node["block_id"] = node.pop("block_id").upper()
        del node["block_name"]
    stored = await api.call("POST", "/graphs", 201, json=graph)
    assert stored["nodes"][0]["block_id"] == block_id


async def test_a_subscription_has_the_id_in_lower_case():
    wanted = new_id()
    _, channel = parse_message(dumps({"method": "subscribe", "data": {"execution_id": wanted.upper()}}))
    assert channel.id == wanted


@pytest.mark.parametrize("form", ["{{{}}}", "urn:uuid:{}", "{} ", "0{}"])
async def test_other_forms_are_refused_with_the_right_one(api: Api, form: str):
    graph_id = await api.stored()
    for bad in (form.format(graph_id), graph_id.replace("-", "")):
        (error,) = (await api.call("GET", f"/graphs/{bad}", 422))["errors"]
        assert "is no UUID" in error["message"] and "dashes" in error["fix"]
