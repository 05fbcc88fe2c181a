"""Running executions again as clients do it, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.make_graph import node_id
from tests.server.conftest import Api, Nodes
from tests.server.test_api_executions import _execution_of_another_user

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: A value recorded once, then a calculation, then another recording.
CHAIN: tuple[Nodes, list[str]] = (
    {
        "in": ("AgentInputBlock", {"name": "n"}),
        "first": ("RecordingBlock", {}),
        "divide": ("CalculatorBlock", {"operation": "Divide", "a": 12}),
        "last": ("RecordingBlock", {}),
        "out": ("AgentOutputBlock", {"name": "result"}),
    },
    ["in.result -> first.value", "first.value -> divide.b", "divide.result -> last.value", "last.value -> out.value"],
)


async def execute(api: Api, graph_id: str, inputs: dict[str, Any]) -> dict[str, Any]:
    return await api.ended((await api.call("POST", f"/graphs/{graph_id}/execute", 202, json=inputs))["id"])


async def rerun(api: Api, execution: dict[str, Any], body: Any = None, **more: Any) -> dict[str, Any]:
    accepted = await api.call("POST", f"/executions/{execution['id']}/rerun", 202, json=body, **more)
    return await api.ended(accepted["id"])


def runs(api: Api, execution: dict[str, Any]) -> int:
    """How many recording blocks really ran in an execution."""
    text = Path(api.settings.files_dir / DEFAULT_USER_ID / "runs.txt").read_text()
    return sum(line.startswith(execution["id"]) for line in text.split())


def attempts(execution: dict[str, Any]) -> dict[str, int]:
    return {n["node_id"]: n["attempt"] for n in execution["node_executions"]["items"]}


def problem(execution: dict[str, Any]) -> str:
    return f"/executions/{execution['id']}/rerun"


async def test_from_a_node_on_it_runs_again_with_what_came_before_kept(running: Api):
    api = running
    first = await execute(api, await api.stored(*CHAIN), {"n": 3})
    again = await rerun(api, first, {"from_node_id": node_id("divide")})

    assert (again["status"], again["outputs"]) == ("COMPLETED", {"result": [4]})
    assert (again["rerun_of_id"], again["rerun_from_node_id"]) == (first["id"], node_id("divide"))
    assert (first["rerun_of_id"], first["rerun_from_node_id"]) == (None, None)
    assert (runs(api, first), runs(api, again)) == (2, 1)
    assert attempts(again) == {node_id(n): int(n in ("divide", "last", "out")) for n in CHAIN[0]}
    kept, then = (e["node_executions"]["items"][1] for e in (again, first))
    unchanged = ("node_id", "sequence", "input_data", "output_data", "queued_at", "started_at", "ended_at")
    assert [kept[key] for key in unchanged] == [then[key] for key in unchanged]
    assert kept["id"] == f"{again['id']}.{then['id'].rpartition('.')[2]}"
    # A rerun is an execution as any other: it may be run again itself.
    third = await rerun(api, again, {"from_node_id": node_id("out")})
    assert (third["outputs"], runs(api, third)) == ({"result": [4]}, 0)


async def test_what_failed_runs_again_with_a_mended_version_of_the_graph(running: Api):
    api = running
    document = api.graph(*CHAIN)
    graph_id = (await api.call("POST", "/graphs", 201, json=document))["id"]
    first = await execute(api, graph_id, {"n": 0})
    assert (first["status"], runs(api, first)) == ("FAILED", 1)
    same = await rerun(api, first)
    assert (same["status"], runs(api, same)) == ("FAILED", 0)

    (divide,) = (n for n in document["nodes"] if n["id"] == node_id("divide"))
    divide["input_default"]["operation"] = "Add"
    assert (await api.call("POST", "/graphs", 201, json=document))["version"] == 2
    mended = await rerun(api, first, {"graph_version": 2})
    assert (mended["status"], mended["graph_version"], mended["outputs"]) == ("COMPLETED", 2, {"result": [12]})
    assert (runs(api, mended), mended["rerun_from_node_id"]) == (1, None)


async def test_edited_inputs_are_taken_where_what_is_kept_still_fits(running: Api):
    api = running
    first = await execute(api, await api.stored(*CHAIN), {"n": 3})
    path, message = await api.refusal(
        "POST", problem(first), json={"inputs": {"n": 4}, "from_node_id": node_id("divide")}
    )
    assert path == "from_node_id"
    assert message.startswith(f"what node {node_id('first')} (RecordingBlock) recorded cannot be kept")
    again = await rerun(api, first, {"inputs": {"n": 4}, "from_node_id": node_id("first")})
    assert (again["outputs"], again["inputs"]) == ({"result": [3]}, {"n": 4})
    assert (await rerun(api, first, {"inputs": {"n": 6}}))["outputs"] == {"result": [2]}


async def test_a_key_makes_one_rerun_and_a_priority_is_taken_over(api: Api):
    graph_id = await api.stored(*CHAIN)
    accepted = await api.call("POST", f"/graphs/{graph_id}/execute", 202, json={"n": 3}, params={"priority": 5})
    await api.call("POST", f"/executions/{accepted['id']}/stop", 200)
    path, headers = problem(accepted), {"Idempotency-Key": new_id()}
    ids = [(await api.call("POST", path, 202, headers=headers))["id"] for _ in range(3)]
    assert len(set(ids)) == 1
    assert (await api.call("GET", f"/executions/{ids[0]}", 200))["priority"] == 5
    other = {"from_node_id": node_id("last")}
    assert "was used with" in (await api.call("POST", path, 409, json=other, headers=headers))["detail"]
    await api.call("POST", f"/graphs/{graph_id}/execute", 409, json={"n": 3}, headers=headers)
    # Nothing had ended, so all of it runs; but not before its end, for it is an execution of its own.
    conflict = await api.call("POST", f"/executions/{ids[0]}/rerun", 409)
    assert conflict["detail"] == f"Execution {ids[0]} is QUEUED and cannot be run again before its end; stop it."


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"from_node_id": "nowhere"}, "from_node_id"),
        ({"from_node_id": 5}, "from_node_id"),
        ({"inputs": {"m": 1}}, "inputs.m"),
        ({"inputs": [1]}, "inputs"),
        ({"graph_version": 0}, "graph_version"),
        ({"from": "x"}, "from"),
        ([], "body"),
    ],
)
async def test_a_bad_rerun_is_refused_by_name(api: Api, body: Any, place: str):
    graph_id = await api.stored(*CHAIN)
    accepted = await api.call("POST", f"/graphs/{graph_id}/execute", 202, json={"n": 3})
    await api.call("POST", f"/executions/{accepted['id']}/stop", 200)
    assert (await api.refusal("POST", problem(accepted), json=body))[0] == place
    path, _ = await api.refusal("POST", problem(accepted), json={}, params={"priority": 101})
    assert path == "priority"


async def test_what_cannot_be_found_is_not_run_again(api: Api, unknown_id: str):
    graph_id = await api.stored(*CHAIN)
    accepted = await api.call("POST", f"/graphs/{graph_id}/execute", 202, json={"n": 3})
    await api.call("POST", f"/executions/{accepted['id']}/stop", 200)
    await api.call("POST", problem(accepted), 404, json={"graph_version": 7})
    await api.call("DELETE", f"/graphs/{graph_id}", 204)
    await api.call("POST", problem(accepted), 404)
    await api.call("POST", f"/executions/{unknown_id}/rerun", 404)
    await api.call("POST", f"/executions/{await _execution_of_another_user(api)}/rerun", 404)
