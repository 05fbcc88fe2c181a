from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autogpt_server.data import graphs
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import new_id
from tests.make_graph import node_id
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_stored_graph_reads_back_as_it_was_sent(api: Api):
    sent = api.graph()

    answer = await api.http.post("/api/graphs", json=sent)
    read = await api.call("GET", f"/graphs/{sent['id']}", 200)

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/graphs/{sent['id']}"
    assert {**read, "warnings": []} == answer.json()
    assert (read["nodes"], read["links"]) == (sent["nodes"], sent["links"])
    assert (read["version"], read["is_active"]) == (1, True)


async def test_a_graph_may_be_sent_wrapped_and_given_new_ids(api: Api):
    sent = api.graph()
    stored = await api.call("POST", "/graphs?new_ids=true", 201, json={"graph": sent})
    assert stored["id"] != sent["id"]
    assert {node["id"] for node in stored["nodes"]}.isdisjoint({node["id"] for node in sent["nodes"]})
    assert stored["links"][0]["source_id"] in {node["id"] for node in stored["nodes"]}


async def test_unknown_fields_are_warned_of(api: Api):
    graph = {**api.graph(), "colour": "red", "descripton": "misspelt"}
    stored = await api.call("POST", "/graphs", 201, json=graph)
    warnings = {warning["path"]: warning for warning in stored["warnings"]}
    assert warnings.keys() == {"colour", "descripton"}
    assert "'colour' of a graph is unknown and ignored" in warnings["colour"]["message"]
    assert warnings["descripton"]["fix"] == "did you mean 'description'?"


async def test_what_stands_beside_a_wrapped_graph_is_warned_of(api: Api):
    graph = api.graph()
    for method, path, status in (("POST", "/graphs", 201), ("PUT", f"/graphs/{graph['id']}", 200)):
        stored = await api.call(method, path, status, json={"graph": {**graph, "x": 1}, "new_ids": True})
        assert {warning["path"] for warning in stored["warnings"]} == {"new_ids", "graph.x"}


async def test_huge_integers_in_defaults_keep_all_digits(api: Api):
    number = 10**200 + 7
    graph_id = await api.stored({"a": ("ValueBlock", {"input": [number]})}, [])
    read = await api.call("GET", f"/graphs/{graph_id}", 200)
    assert read["nodes"][0]["input_default"] == {"input": [number]}


async def test_saving_again_makes_the_next_version_and_activates_it(api: Api):
    graph = api.graph()
    await api.call("POST", "/graphs", 201, json=graph)

    saved = await api.call("PUT", f"/graphs/{graph['id']}", 200, json={**graph, "name": "second"})

    assert (saved["version"], saved["is_active"], saved["name"]) == (2, True, "second")
    assert (await api.call("GET", f"/graphs/{graph['id']}", 200))["name"] == "second"
    assert (await api.call("GET", f"/graphs/{graph['id']}/versions/1", 200))["is_active"] is False
    assert (await api.call("GET", f"/graphs/{graph['id']}?version=1", 200))["name"] == "test"


async def test_an_update_may_leave_the_id_out_but_not_change_it(api: Api):
    graph = api.graph()
    await api.call("POST", "/graphs", 201, json=graph)
    anonymous = {key: value for key, value in graph.items() if key != "id"}

    assert (await api.call("PUT", f"/graphs/{graph['id']}", 200, json=anonymous))["id"] == graph["id"]
    path, message = await api.refusal("PUT", f"/graphs/{graph['id']}", json={"graph": {**graph, "id": new_id()}})
    assert path == "graph.id" and graph["id"] in message


async def test_an_update_of_an_unknown_graph_is_not_found(api: Api, unknown_id: str):
    await api.call("PUT", f"/graphs/{unknown_id}", 404, json=api.graph())


@pytest.mark.parametrize("key", ["active_graph_version", "version"])
async def test_an_older_version_can_be_made_the_active_one(api: Api, key: str):
    graph = api.graph()
    for _ in range(2):
        await api.call("POST", "/graphs", 201, json=graph)

    chosen = await api.call("PUT", f"/graphs/{graph['id']}/versions/active", 200, json={key: 1})

    assert (chosen["version"], chosen["is_active"]) == (1, True)
    versions = (await api.call("GET", f"/graphs/{graph['id']}/versions", 200))["items"]
    assert [(v["version"], v["is_active"]) for v in versions] == [(2, False), (1, True)]
    await api.call("PUT", f"/graphs/{graph['id']}/versions/active", 404, json={key: 3})


@pytest.mark.parametrize("body", [{}, {"version": "1"}, {"version": 0}, {"version": 2**31}, {"version": None}])
async def test_a_bad_active_version_is_refused_by_name(api: Api, body: dict[str, Any]):
    path, _ = await api.refusal("PUT", f"/graphs/{await api.stored()}/versions/active", json=body)
    assert path in ("active_graph_version", "version")


async def test_a_deleted_graph_is_gone_but_its_executions_are_not(api: Api):
    graph_id = await api.stored()
    execution = await api.call("POST", f"/graphs/{graph_id}/execute", 202)

    assert (await api.http.delete(f"/api/graphs/{graph_id}")).status_code == 204

    await api.call("GET", f"/graphs/{graph_id}", 404)
    await api.call("DELETE", f"/graphs/{graph_id}", 404)
    await api.call("POST", f"/graphs/{graph_id}/execute", 404)
    assert (await api.call("GET", f"/executions/{execution['id']}", 200))["graph_id"] == graph_id
    assert len((await api.call("GET", f"/graphs/{graph_id}/executions", 200))["items"]) == 1


async def test_pages_of_graphs_stay_stable_while_graphs_are_added(api: Api):
    ids = [await api.stored() for _ in range(5)]
    first = await api.call("GET", "/graphs?limit=2", 200)

    await api.stored()
    second = await api.call("GET", "/graphs", 200, params={"limit": 3, "cursor": first["next_cursor"]})

    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert set(first["items"][0]) >= {"id", "version", "name", "description", "is_active", "created_at"}
    assert first["items"][0]["created_at"].endswith("Z")


async def test_pages_of_versions_join_up(api: Api):
    graph = api.graph()
    for _ in range(3):
        await api.call("POST", "/graphs", 201, json=graph)
    first = await api.call("GET", f"/graphs/{graph['id']}/versions?limit=2", 200)
    second = await api.call(
        "GET", f"/graphs/{graph['id']}/versions", 200, params={"limit": 2, "cursor": first["next_cursor"]}
    )
    assert [item["version"] for item in first["items"] + second["items"]] == [3, 2, 1]
    assert second["next_cursor"] is None


async def test_saves_at_the_same_moment_get_a_version_each(api: Api):
    graph = api.graph()
    saved = await asyncio.gather(*(api.call("POST", "/graphs", 201, json=graph) for _ in range(8)))
    assert sorted(one["version"] for one in saved) == list(range(1, 9))


async def test_another_users_graph_is_not_found_and_its_id_is_taken(api: Api):
    theirs = await _graph_of_another_user(api)
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/versions"),
        ("GET", "/versions/1"),
        ("GET", "/executions"),
        ("GET", "/input_schema"),
        ("POST", "/execute"),
    ):
        await api.call(method, f"/graphs/{theirs['id']}{path}", 404)
    await api.call("PUT", f"/graphs/{theirs['id']}", 404, json=theirs)
    await api.call("PUT", f"/graphs/{theirs['id']}/versions/active", 404, json={"version": 1})
    problem = await api.call("POST", "/graphs", 409, json=theirs)
    assert "new_ids" in problem["detail"]


async def test_schemas_of_inputs_and_outputs(api: Api):
    graph_id = await api.stored(
        {
            "in": ("AgentInputBlock", {"name": "who"}),
            "out": ("AgentOutputBlock", {"name": "text"}),
        },
        ["in.result -> out.value"],
    )
    assert (await api.call("GET", f"/graphs/{graph_id}/input_schema", 200))["required"] == ["who"]
    assert list((await api.call("GET", f"/graphs/{graph_id}/output_schema", 200))["properties"]) == ["text"]


async def test_all_problems_of_a_graph_are_told_at_once(api: Api):
    graph = api.graph()
    graph["nodes"].append({"id": new_id(), "block_name": "NoSuchBlock"})
    graph["links"] += [
        {**graph["links"][0], "id": new_id()},
        {**graph["links"][0], "id": new_id(), "sink_name": "nowhere"},
        {**graph["links"][0], "id": new_id(), "sink_id": new_id()},
    ]

    problem = await api.call("POST", "/graphs", 422, json=graph)

    assert problem["type"] == "urn:autogpt:problem:invalid"
    paths = [error["path"] for error in problem["errors"]]
    assert {"nodes[2].block_name", "links[1]", "links[2].sink_name", "links[3].sink_id"} <= set(paths)
    await api.call("GET", f"/graphs/{graph['id']}", 404)


async def test_one_node_more_than_the_limit_is_refused(api: Api):
    graph = api.graph({"a": ("ValueBlock", {"input": 1})}, [])
    graph["nodes"] = [{**graph["nodes"][0], "id": new_id()} for _ in range(api.settings.max_nodes + 1)]
    path, message = await api.refusal("POST", "/graphs", json=graph)
    assert path == "nodes" and f"{api.settings.max_nodes:,}" in message


async def test_ids_of_a_graph_that_are_no_uuids_are_refused_by_place(api: Api):
    graph = api.graph()
    graph["nodes"][0]["id"] = "first"
    problem = await api.call("POST", "/graphs", 422, json=graph)
    assert "nodes[0].id" in [error["path"] for error in problem["errors"]]
    assert node_id("a") != "first"


async def _graph_of_another_user(api: Api) -> dict[str, Any]:
    other = new_id()
    await api.services.prisma.user.create(data={"id": other, "email": f"{other}@localhost"})
    graph = api.graph()
    await graphs.create_graph(api.services.prisma, other, Graph.model_validate(graph))
    return graph
