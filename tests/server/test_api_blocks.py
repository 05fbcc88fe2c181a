from __future__ import annotations

import asyncio

import pytest

from tests.server.conftest import Api

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
