"""Single executions take a lane of their own past the framework, and remember which version of a graph is active."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from autogpt_server.data import graphs
from autogpt_server.executor import submit
from autogpt_server.executor.submit import MAX_BATCH
from autogpt_server.model.check import check_inputs
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.server.quick_lane.application import Application
from tests.server.conftest import Api, Nodes

pytestmark = pytest.mark.asyncio(loop_scope="module")


def taking(*names: str) -> tuple[Nodes, list[str]]:
    """A graph with inputs of these names."""
    nodes: Nodes = {name: ("AgentInputBlock", {"name": name}) for name in names}
    return {**nodes, "show": ("PrintToConsoleBlock", {})}, [f"{names[0]}.result -> show.text"]


async def versions(api: Api) -> str:
    """A graph whose first version takes ``old``, and whose second, active one takes ``new``."""
    first = Graph.model_validate(api.graph(*taking("old")))
    second = Graph.model_validate(api.graph(*taking("new")) | {"id": first.id})
    # Not through the server: another process may do so, too.
    for graph in (first, second):
        await graphs.create_graph(api.services.prisma, DEFAULT_USER_ID, graph)
    return first.id


async def execute(api: Api, graph_id: str, inputs: dict[str, Any]) -> int:
    """Execute a graph and return the version that was taken, 0 when the inputs were refused."""
    answer = await api.http.post(f"/api/graphs/{graph_id}/execute", json=inputs)
    if answer.status_code == 422:
        return 0
    assert answer.status_code == 202, answer.text
    return (await api.call("GET", f"/executions/{answer.json()['id']}", 200))["graph_version"]


async def test_the_next_request_after_a_change_of_the_active_version_takes_that(api: Api):
    graph_id = await versions(api)
    assert await execute(api, graph_id, {"new": 1}) == 2
    for version, name, other in ((1, "old", "new"), (2, "new", "old"), (1, "old", "new")):
        await graphs.set_active_version(api.services.prisma, DEFAULT_USER_ID, graph_id, version)
        # What fits the version that was remembered is refused, and what does not fit that is accepted.
        assert await execute(api, graph_id, {other: 1}) == 0
        assert await execute(api, graph_id, {name: 1}) == version


async def test_inputs_that_only_the_new_version_takes_are_accepted_at_once(api: Api):
    graph_id = await versions(api)
    assert await execute(api, graph_id, {"new": 1}) == 2
    await graphs.set_active_version(api.services.prisma, DEFAULT_USER_ID, graph_id, 1)
    assert await execute(api, graph_id, {"old": 1}) == 1


async def test_a_batch_is_for_the_version_that_is_active_when_it_is_stored(api: Api):
    graph_id = await versions(api)
    assert await execute(api, graph_id, {"new": 1}) == 2
    await graphs.set_active_version(api.services.prisma, DEFAULT_USER_ID, graph_id, 1)
    batch = {"inputs": [{"old": i} for i in range(100)]}
    await api.call("POST", f"/graphs/{graph_id}/execute/batch", 202, json=batch)
    listed = (await api.call("GET", f"/graphs/{graph_id}/executions", 200, params={"limit": 100}))["items"]
    assert {one["graph_version"] for one in listed} == {1}


async def test_a_deleted_graph_is_not_executed_by_the_next_request(api: Api):
    graph_id = await versions(api)
    assert await execute(api, graph_id, {"new": 1}) == 2
    await api.call("POST", f"/graphs/{graph_id}/execute?version=1", 202, json={"old": 1})
    await graphs.delete_graph(api.services.prisma, DEFAULT_USER_ID, graph_id)
    await api.call("POST", f"/graphs/{graph_id}/execute", 404, json={"new": 1})
    await api.call("POST", f"/graphs/{graph_id}/execute?version=1", 404, json={"old": 1})
    # and one that comes back goes on with its next version
    third = Graph.model_validate(api.graph(*taking("new")) | {"id": graph_id})
    await graphs.create_graph(api.services.prisma, DEFAULT_USER_ID, third)
    assert await execute(api, graph_id, {"new": 1}) == 3


async def test_changes_while_requests_come_lose_none_and_mix_no_versions(api: Api):
    graph_id = await versions(api)

    async def change() -> None:
        for i in range(10):
            await graphs.set_active_version(api.services.prisma, DEFAULT_USER_ID, graph_id, 1 + i % 2)

    changing = asyncio.create_task(change())
    taken: list[tuple[int, int]] = []
    while not changing.done():
        names = ("old", "new") * 4
        found = await asyncio.gather(*(execute(api, graph_id, {name: 1}) for name in names))
        taken += [(version, 1 + names.index(name)) for version, name in zip(found, names, strict=True)]
    await changing
    assert taken
    assert all(version in (0, fitting) for version, fitting in taken)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"old":1}', {}),
        (b'{"old":1}', {"Idempotency-Key": "one"}),
        (b'{"old":1}', {"Idempotency-Key": ""}),
        (b'{"other":1}', {}),
        (b"", {}),
        (b"[1]", {}),
        (b"{", {}),
        (b'{"old":"\\u0000"}', {}),
        (b'{"old":"' + b"x" * 100_000 + b'"}', {}),
        (b'{"old":1}', {"Host": "example.com"}),
    ],
    ids=["plain", "key", "empty key", "unknown", "empty", "list", "broken", "NUL", "long", "host"],
)
@pytest.mark.parametrize("unknown", [False, True], ids=["known", "unknown graph"])
async def test_the_lane_answers_as_the_framework_does(
    api: Api, body: bytes, headers: dict[str, str], unknown: bool, monkeypatch: pytest.MonkeyPatch
):
    graph_id = new_id() if unknown else await api.stored(*taking("old"))
    headers = {"Content-Type": "application/json", **headers}
    one = await api.http.post(f"/api/graphs/{graph_id}/execute", content=body, headers=headers)
    monkeypatch.setattr(Application, "_is_usual", lambda self, headers: False)
    other = await api.http.post(f"/api/graphs/{graph_id}/execute", content=body, headers=headers)

    assert one.status_code == other.status_code
    assert set(one.headers) == set(other.headers)
    assert one.headers["content-type"] == other.headers["content-type"]
    if one.status_code == 202 and headers.get("Idempotency-Key") is None:
        assert one.json().keys() == other.json().keys()
        assert one.headers["location"] == f"/api/executions/{one.json()['id']}"
    else:
        assert one.json() == other.json()


async def test_a_defect_in_the_lane_is_answered_with_an_id_and_nothing_else(api: Api, monkeypatch: pytest.MonkeyPatch):
    async def submit(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret")

    graph_id = await api.stored(*taking("old"))
    monkeypatch.setattr(type(api.services.submitter), "submit", submit)
    problem = await api.call("POST", f"/graphs/{graph_id}/execute", 500, json={"old": 1})
    assert "secret" not in str(problem)


async def test_a_large_batch_is_checked_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch):
    threads: set[int] = set()

    def noted(*arguments: Any) -> Any:
        threads.add(threading.get_ident())
        return check_inputs(*arguments)

    monkeypatch.setattr(submit, "check_inputs", noted)
    graph_id = await api.stored(*taking("old"))
    batch = {"inputs": [{"old": i} for i in range(MAX_BATCH)]}
    ids = (await api.call("POST", f"/graphs/{graph_id}/execute/batch", 202, json=batch))["ids"]
    assert len(set(ids)) == MAX_BATCH
    assert threading.get_ident() not in threads
