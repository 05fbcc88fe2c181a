"""Events that were prepared while a commit was under way: told without a look once it is durable, and never else."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest

from autogpt_server.data.drafts import Draft, DraftEnd
from autogpt_server.data.node_rows import Columns
from tests.server.conftest import Api
from tests.server.test_feed import Told, names  # noqa: F401

pytestmark = pytest.mark.asyncio(loop_scope="module")


def draft(told: Told, name: str, revision: int, *, sequence: int, ends: bool = False) -> Draft:
    outputs = '[["value", 1]]'
    row: Columns = (
        f"x.{sequence}", told.id, "n", sequence, "COMPLETED", "{}", outputs, None, 1, 1, None, revision, 0, 0, 0
    )  # fmt: skip
    return Draft(told.id, revision, [row], DraftEnd("COMPLETED", "{}", "{}", None, 0) if ends else None, name)


class Following(Told):
    def hear(self, one: Draft) -> None:
        self._events.hear_draft(one.pack())

    def make_durable(self, name: str) -> None:
        self._events.wake([self.id, name])


@pytest.fixture
def told(api: Api, monkeypatch: pytest.MonkeyPatch) -> Following:
    return Following(api, monkeypatch)


async def test_a_durable_draft_is_told_without_a_look(told: Following) -> None:
    told.commit(1)
    found: list[dict] = []
    async with aclosing(told.follow()) as news:
        await anext(news)
        looks = told.looks
        told.hear(draft(told, "draft:a.1", 2, sequence=2))
        told.make_durable("draft:a.1")
        found += [json.loads(entry.data) for entry in await anext(news)]
        told.hear(draft(told, "draft:a.2", 3, sequence=3, ends=True))
        told.make_durable("draft:a.2")
        found += [json.loads(entry.data) for entries in [await anext(news)] for entry in entries]
        with pytest.raises(StopAsyncIteration):
            await anext(news)
    assert told.looks == looks
    assert [(event["type"], event["sequence"]) for event in found] == [
        ("node_execution", 2), ("node_execution", 3), ("graph_execution", 3)
    ]  # fmt: skip
    assert found[0]["execution"]["output_data"] == {"value": [1]}
    assert (found[-1]["execution"]["status"], found[-1]["execution"]["revision"]) == ("COMPLETED", 3)


async def test_what_is_not_durable_is_not_told(told: Following) -> None:
    told.commit(1)
    async with aclosing(told.follow()) as news:
        await anext(news)
        # Rolled back; what was committed then is another node.
        told.hear(draft(told, "draft:a.1", 2, sequence=77))
        told.commit(1, is_end=True)
        entries = [json.loads(entry.data) async for entries in news for entry in entries]
    assert [event["execution"].get("sequence") for event in entries] == [2, None]


async def test_a_draft_that_does_not_follow_what_is_known_is_not_told(told: Following) -> None:
    told.commit(1)
    async with aclosing(told.follow()) as news:
        await anext(news)
        looks = told.looks
        # The one in between was lost: what a look finds is told.
        told.hear(draft(told, "draft:a.9", 3, sequence=99, ends=True))
        told.commit(1)
        told.commit(1, is_end=True)
        told.make_durable("draft:a.9")
        entries = [json.loads(entry.data) async for entries in news for entry in entries]
    assert told.looks > looks
    assert [event["execution"].get("sequence") for event in entries] == [2, 3, None]


async def test_a_draft_that_comes_before_the_first_look_is_taken_after_it(told: Following) -> None:
    told.commit(1)
    async with aclosing(told.follow()) as news:
        first = asyncio.ensure_future(anext(news))
        # The feed is there, and has not looked yet.
        await asyncio.sleep(0)
        told.hear(draft(told, "draft:a.1", 2, sequence=2, ends=True))
        await first
        looks = told.looks
        told.make_durable("draft:a.1")
        entries = [json.loads(entry.data) async for entries in news for entry in entries]
    assert told.looks == looks
    assert [event["type"] for event in entries] == ["node_execution", "graph_execution"]
