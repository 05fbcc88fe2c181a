"""``WS /ws`` over real sockets: subscriptions, their events, and clients that do not behave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from autogpt_server.model.ids import new_id
from autogpt_server.server.websocket import connection as connection_module
from tests.server.conftest import Api
from tests.server.test_api_controls import gated, user_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: An id that nothing has.
UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def address(port: int) -> str:
    return f"ws://127.0.0.1:{port}/ws"


async def ask(client: ClientConnection, method: str, **data: Any) -> dict[str, Any]:
    """Send a message and return the next one."""
    await client.send(json.dumps({"method": method, "data": data}))
    return await told(client)


async def told(client: ClientConnection) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(client.recv(), 60))


async def to_the_end(client: ClientConnection, ends: int = 1) -> list[dict[str, Any]]:
    """Receive events until so many executions have ended."""
    found: list[dict[str, Any]] = []
    while ends:
        message = await told(client)
        assert message["method"] == "execution_event", message
        found.append(message)
        event = message["data"]
        ends -= event["type"] == "graph_execution" and event["execution"]["status"] == "COMPLETED"
    return found


@pytest.mark.parametrize("prefix", ["/ws", "/api/ws"])
async def test_one_execution_is_told_from_its_beginning_or_from_where_the_client_was(
    running: Api, address: str, prefix: str
):
    graph_id = await running.stored()
    execution_id = (await running.call("POST", f"/graphs/{graph_id}/execute", 202))["id"]
    async with connect(address.removesuffix("/ws") + prefix) as client:
        answer = await ask(client, "subscribe", execution_id=execution_id)
        assert answer == {"method": "subscribe", "success": True, "channel": execution_id}
        found = await to_the_end(client)
        assert {message["channel"] for message in found} == {execution_id}
        ended = [m["data"]["execution"] for m in found if m["data"]["type"] == "node_execution"]
        assert [node["block_name"] for node in ended if node["status"] == "COMPLETED"] == [
            "ValueBlock",
            "AgentOutputBlock",
        ]
        last = found[-1]["after"]
        assert last == found[-1]["data"]["sequence"]

        await ask(client, "subscribe", execution_id=execution_id, after=last - 1)
        again = await to_the_end(client)
        assert {message["data"]["sequence"] for message in again} == {last}


async def test_a_graphs_subscribers_hear_of_what_runs_and_of_all_that_comes(running: Api, address: str):
    api, gate = running, new_id()
    graph_id, other_id = await api.stored(*gated(gate)), await api.stored()
    first = (await api.call("POST", f"/graphs/{graph_id}/execute", 202))["id"]
    async with connect(address) as client:
        assert (await ask(client, "subscribe", graph_id=graph_id))["channel"] == graph_id
        later = await api.call("POST", f"/graphs/{graph_id}/execute/batch", 202, json={"inputs": [{}, {}, {}]})
        await api.call("POST", f"/graphs/{other_id}/execute", 202)
        (user_folder(api) / gate).write_text("")
        found = await to_the_end(client, ends=4)
        assert {message["channel"] for message in found} == {graph_id}
        ended = [m["data"]["execution"] for m in found if m["data"]["type"] == "graph_execution"]
        assert sorted(e["id"] for e in ended if e["status"] == "COMPLETED") == sorted([first, *later["ids"]])

        assert (await ask(client, "unsubscribe", graph_id=graph_id))["success"] is True
        await api.call("POST", f"/graphs/{graph_id}/execute", 202)
        answer = await ask(client, "unsubscribe", graph_id=graph_id)
        assert answer["success"] is False
        assert answer["error"] == f"There is no subscription to {graph_id}, or it has ended."


@pytest.mark.parametrize(
    ("sent", "method", "error"),
    [
        ("no JSON", "error", "Send JSON like"),
        ("[]", "error", "Send JSON like"),
        ('{"method": 1}', "error", "method: is 1, but must be a text"),
        ('{"method": "run_graph"}', "error", "Message type is not processed by the server"),
        ('{"method": "subscribe"}', "subscribe", "Subscription data missing"),
        ('{"method": "unsubscribe", "data": null}', "unsubscribe", "Unsubscription data missing"),
        ('{"method": "subscribe", "data": {}}', "subscribe", "give either graph_id or execution_id"),
        ('{"method": "subscribe", "data": {"graph_id": "1"}}', "subscribe", "graph_id: it is no UUID"),
        (
            '{"method": "subscribe", "data": {"graph": "1"}}',
            "subscribe",
            "graph: is unknown (did you mean 'graph_id'?)",
        ),
        (
            f'{{"method": "subscribe", "data": {{"execution_id": "{UNKNOWN}", "after": -1}}}}',
            "subscribe",
            "after: is -1, but must be at least 0 (give at least 0)",
        ),
        (
            f'{{"method": "subscribe", "data": {{"graph_id": "{UNKNOWN}", "after": 1}}}}',
            "subscribe",
            "after goes with execution_id only",
        ),
        (f'{{"method": "subscribe", "data": {{"graph_id": "{UNKNOWN}"}}}}', "subscribe", "not found"),
        (f'{{"method": "subscribe", "data": {{"execution_id": "{UNKNOWN}"}}}}', "subscribe", "not found"),
        (b"bytes", "error", "Send text, not bytes."),
    ],
)
async def test_what_cannot_be_obeyed_is_refused_and_the_connection_goes_on(
    api: Api, address: str, sent: str | bytes, method: str, error: str
):
    async with connect(address) as client:
        for _ in range(2):
            await client.send(sent)
            answer = await told(client)
            assert (answer["method"], answer["success"]) == (method, False)
            assert error in answer["error"]


async def test_subscriptions_are_bounded(api: Api, address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection_module, "MAX_CHANNELS", 2)
    ids = [await api.stored() for _ in range(3)]
    async with connect(address) as client:
        for graph_id in (*ids[:2], ids[0]):
            assert (await ask(client, "subscribe", graph_id=graph_id))["success"]
        answer = await ask(client, "subscribe", graph_id=ids[2])
        assert answer["error"] == "A connection has at most 2 subscriptions; unsubscribe or open another."


async def test_pages_of_other_sites_get_no_connection(api: Api, address: str):
    port = int(address.split(":")[-1].removesuffix("/ws"))
    foreign_page = connect(address, origin=Origin("https://elsewhere.example"))
    foreign_name = connect("ws://elsewhere.example/ws", host="127.0.0.1", port=port)
    for attempt in (foreign_page, foreign_name):
        with pytest.raises(InvalidStatus) as refused:
            await attempt
        assert refused.value.response.status_code == 403


async def test_who_does_not_read_is_cut_off_and_holds_up_nobody(
    running: Api, address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection_module, "SEND_SECONDS", 0.5)
    nodes = {f"n{i}": ("ValueBlock", {"input": "x" * 400_000}) for i in range(40)}
    graph_id = await running.stored(nodes, [])
    execution_id = (await running.call("POST", f"/graphs/{graph_id}/execute", 202))["id"]
    async with connect(address, max_queue=1) as slow, connect(address, max_size=None) as quick:
        await slow.send(json.dumps({"method": "subscribe", "data": {"execution_id": execution_id}}))
        await ask(quick, "subscribe", execution_id=execution_id)
        whole = await to_the_end(quick)
        await asyncio.wait_for(cut_off(running), 20)
        seen = []
        with pytest.raises(ConnectionClosed):
            while True:
                seen.append(await told(slow))
    assert len(seen) < len(whole)

    # What it missed comes when it comes back, and nothing that it has seen.
    last = max((message["after"] for message in seen if "after" in message), default=0)
    async with connect(address, max_size=None) as client:
        await ask(client, "subscribe", execution_id=execution_id, after=last)
        rest = await to_the_end(client)
    assert [m["data"] for m in rest] == [m["data"] for m in whole if m["data"]["sequence"] > last]


async def cut_off(api: Api) -> None:
    """Wait until only one client follows."""
    while sum(feed.readers for feed in api.services.events._feeds.values()) > 0:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)


async def test_a_server_that_stops_says_so(api: Api, address: str, monkeypatch: pytest.MonkeyPatch):
    stopping = asyncio.Event()
    monkeypatch.setattr(api.app.state, "stopping", stopping)
    async with connect(address) as client:
        await ask(client, "subscribe", graph_id=await api.stored())
        stopping.set()
        with pytest.raises(ConnectionClosed) as closed:
            await told(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
