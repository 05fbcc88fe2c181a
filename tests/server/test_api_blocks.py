from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psutil
import pytest

from autogpt_server.model.ids import new_id
from autogpt_server.server import block_calls
from tests.server.conftest import Api
from tests.server.test_api_controls import user_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_blocks_are_listed_by_name_with_their_schemas(api: Api):
    page = await api.call("GET", "/blocks", 200)

    names = [block["name"] for block in page["items"]]
    assert names == sorted(block.name for block in api.registry)
    assert page["next_cursor"] is None
    value = next(block for block in page["items"] if block["name"] == "ValueBlock")
    assert value["static_output"] is True
    assert value["id"] == api.registry.get("ValueBlock").id
    assert "input" in value["input_schema"]["properties"]


async def test_pages_of_blocks_join_up(api: Api):
    names: list[str] = []
    cursor = None
    while True:
        page = await api.call("GET", "/blocks", 200, params={"limit": 7} | ({"cursor": cursor} if cursor else {}))
        names += [block["name"] for block in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == sorted(block.name for block in api.registry)


async def test_a_block_is_found_by_name_and_by_id(api: Api):
    by_name = await api.call("GET", "/blocks/ValueBlock", 200)
    assert await api.call("GET", f"/blocks/{by_name['id']}", 200) == by_name


async def test_an_unknown_block_is_not_found(api: Api):
    problem = await api.call("POST", "/blocks/NoSuchBlock/execute", 404, json={})
    assert problem["type"] == "urn:autogpt:problem:not-found"
    assert "NoSuchBlock" in problem["detail"]


async def test_executing_a_block_answers_values_by_pin_with_every_digit(api: Api):
    number = 12345678901234567890123
    answer = await api.http.post("/api/blocks/ValueBlock/execute", content=f'{{"input": {number}}}')
    assert answer.status_code == 200
    assert answer.json() == {"output": [number]}


async def test_a_block_executed_alone_uses_the_users_folder(api: Api):
    await api.call("POST", "/blocks/WriteFileBlock/execute", 200, json={"path": "note.txt", "content": "kept"})
    assert (await api.call("POST", "/blocks/ReadFileBlock/execute", 200, json={"path": "note.txt"}))["content"] == [
        "kept"
    ]


async def test_inputs_that_do_not_fit_name_every_pin(api: Api):
    problem = await api.call("POST", "/blocks/WriteFileBlock/execute", 422, json={"nowhere": 1})
    assert {"path", "nowhere"} <= {error["path"] for error in problem["errors"]}


async def test_a_block_that_fails_says_so_on_its_error_pin(api: Api):
    answer = await api.call("POST", "/blocks/RaiseErrorBlock/execute", 200, json={"message": "as asked"})
    assert "as asked" in answer["error"][0]


async def test_a_block_that_ends_its_process_harms_nothing_else(api: Api):
    answers = await asyncio.gather(
        api.call("POST", "/blocks/ExitingBlock/execute", 200, json={}),
        api.call("POST", "/blocks/ValueBlock/execute", 200, json={"input": 1}),
    )
    assert "exit code 7" in answers[0]["error"][0]
    assert answers[1] == {"output": [1]}


async def test_a_block_that_never_ends_is_stopped(api: Api, monkeypatch: pytest.MonkeyPatch):
    # given a second as the time limit of blocks
    limited = api.settings.model_copy(update={"node_timeout_seconds": 1.0})
    monkeypatch.setattr(api.services.block_calls, "_settings", limited)

    answer = await api.call("POST", "/blocks/EndlessBlock/execute", 200, json={})

    assert "limit" in answer["error"][0]


async def pids(api: Api, count: int) -> set[int]:
    """Wait until so many calls of PidBlock run, and return the ids of their processes."""
    found: set[int] = set()
    async with asyncio.timeout(30):
        while len(found) < count:
            await asyncio.sleep(0.02)
            # A file has its name once it is whole; before, it has another one for a moment.
            with suppress(FileNotFoundError):
                texts = [file.read_text() for file in user_folder(api).glob("started/*")]
                found = {int(text) for text in texts if text and psutil.pid_exists(int(text))}
    return found


@asynccontextmanager
async def hanging(api: Api, count: int) -> AsyncIterator[list[asyncio.Task[dict[str, list[int]]]]]:
    """Calls that run until the end of the block; then they get what they wait for."""
    gate = new_id()
    path = "/blocks/PidBlock/execute"
    calls = [asyncio.create_task(api.call("POST", path, 200, json={"path": gate})) for _ in range(count)]
    try:
        await pids(api, count)
        yield calls
    finally:
        (user_folder(api) / gate).write_text("")
        await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)


async def test_a_client_that_hangs_up_stops_its_block(api: Api, port: int):
    # given a call that would run for a minute
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"path": "never"}'
    head = f"POST /api/blocks/PidBlock/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    (pid,) = await pids(api, 1)
    process = psutil.Process(pid)

    # when its client has gone
    writer.close()
    await writer.wait_closed()

    # then its process ends, and its place is free again
    await asyncio.to_thread(process.wait, 20)
    async with hanging(api, block_calls.CALLS):
        pass


async def test_blocks_that_hang_keep_others_waiting_for_a_moment_only(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(block_calls, "WAIT_SECONDS", 0.2)
    async with hanging(api, block_calls.CALLS) as calls:
        answer = await api.http.post("/api/blocks/ValueBlock/execute", json={"input": 1})

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "4 single blocks" in answer.json()["detail"]
        assert not any(call.done() for call in calls)
    assert all(set(call.result()) == {"value"} for call in calls)
    assert await api.call("POST", "/blocks/ValueBlock/execute", 200, json={"input": 1}) == {"output": [1]}


async def test_a_call_that_waits_takes_the_place_of_one_that_ends(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(block_calls, "WAIT_SECONDS", 30)
    async with hanging(api, block_calls.CALLS):
        waiting = asyncio.create_task(api.call("POST", "/blocks/ValueBlock/execute", 200, json={"input": 1}))
    assert await asyncio.wait_for(waiting, 30) == {"output": [1]}


async def test_a_client_that_hangs_up_within_its_body_is_no_defect(
    api: Api, port: int, caplog: pytest.LogCaptureFixture
):
    ended = asyncio.Event()
    answered = api.app.middleware_stack

    async def watched(scope, receive, send):
        try:
            await answered(scope, receive, send)
        finally:
            ended.set()

    api.app.middleware_stack = watched
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /api/graphs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(ended.wait(), 20)
    finally:
        api.app.middleware_stack = answered
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
