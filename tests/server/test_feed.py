"""Following executions: one reading for all, each at its own pace, and nothing is missed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autogpt_server.accounts import verifier
from autogpt_server.data.executions import Changes, Executions, NodeChange
from autogpt_server.errors import ExecutionNotFound, Unavailable
from autogpt_server.model.execution import ExecutionStatus, GraphExecution, NodeOutput
from autogpt_server.model.ids import new_id
from autogpt_server.model.principal import Principal, Role
from autogpt_server.server import event_stream
from autogpt_server.server import feed as feed_module
from autogpt_server.server.feed import Entry
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNNING, COMPLETED = ExecutionStatus.RUNNING, ExecutionStatus.COMPLETED


class Told:
    """An execution whose changes the test tells, instead of the database."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch, most: int = 1000) -> None:
        self.id, self.looks = new_id(), 0
        self.error: Exception | None = None
        self._events, self._most = api.services.events, most
        self._nodes: list[NodeChange] = []
        self._outputs: list[NodeOutput] = []
        self._revision, self._status = 0, RUNNING
        monkeypatch.setattr(Executions, "changes", lambda _, *args: self._changes(*args))
        monkeypatch.setattr(Executions, "revision", lambda _, execution_id: self._revision)

    def commit(self, nodes: int = 1, outputs: int = 0, *, is_end: bool = False) -> None:
        """Let so many nodes end, and so many outputs be streamed, in one commit."""
        self._revision += 1
        for _ in range(nodes):
            self._nodes.append(_node(len(self._nodes) + 1, self._revision))
        for _ in range(outputs):
            number = len(self._outputs) + 1
            self._outputs.append(NodeOutput.model_construct(
                number=number, node_execution_id="x.0", node_id="n", pin="value", value=number, revision=self._revision
            ))  # fmt: skip
        self._status = COMPLETED if is_end else RUNNING
        self._events.wake([self.id])

    def follow(self, after: int = -1) -> AsyncGenerator[Sequence[Entry]]:
        return self._events.follow("u", self.id, after)

    async def to_the_end(self, after: int = -1) -> list[dict[str, Any]]:
        return [json.loads(entry.data) async for entries in self.follow(after) for entry in entries]

    def _changes(self, execution_id: str, after: int, after_output: int = 0) -> Changes:
        self.looks += 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        nodes = [node for node in self._nodes if node.revision > after][: self._most]
        revision = self._revision if len(nodes) < self._most else nodes[-1].revision
        outputs = [o for o in self._outputs if o.number > after_output and after < o.revision <= revision]
        return Changes(_execution(execution_id, self._revision, self._status), nodes, outputs, revision)


def _node(sequence: int, revision: int) -> NodeChange:
    moment = datetime.now(UTC)
    return NodeChange(
        id=f"x.{sequence}", execution_id="x", node_id="n", sequence=sequence, status=COMPLETED, input_data="{}",
        output_data="[]", error=None, attempt=1, revision=revision, queued_at=moment, started_at=moment,
        ended_at=moment, tries=1, logs=None,
    )  # fmt: skip


def _execution(execution_id: str, revision: int, status: ExecutionStatus) -> GraphExecution:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return GraphExecution(
        id=execution_id, graph_id="g", graph_version=1, user_id="u", status=status, inputs={}, outputs={}, stats={},
        error=None, attempt=1, deaths=0, depth=0, revision=revision, parent_execution_id=None, stop_requested_at=None,
        pause_requested_at=None, paused=timedelta(0), priority=0, rerun_of_id=None, rerun_from_node_id=None,
        created_at=moment, started_at=moment, ended_at=None,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def names(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def of(*_: object) -> dict[str, str]:
        return {"n": "AnyBlock"}

    monkeypatch.setattr(api.services.block_names, "of", of)


def sequences(told: list[dict[str, Any]]) -> list[int]:
    return [event["execution"]["sequence"] for event in told if event["type"] == "node_execution"]


async def one_by_one(news: AsyncGenerator[Sequence[Entry]]) -> AsyncGenerator[Entry]:
    async for entries in news:
        for entry in entries:
            yield entry


async def test_very_many_changes_come_in_order_and_in_full(api: Api, monkeypatch: pytest.MonkeyPatch):
    # Reads give at most two revisions at once.
    told = Told(api, monkeypatch, most=4)
    for _ in range(6):
        told.commit(2)
    told.commit(2, is_end=True)

    found = [entry async for entries in told.follow() for entry in entries]

    assert [entry.revision for entry in found] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7]
    assert [entry.revision for entry in found if entry.is_last] == [1, 2, 3, 4, 5, 6, 7]
    assert json.loads(found[-1].data)["type"] == "graph_execution"


async def test_a_stream_outlives_a_database_that_is_away_for_a_moment(api: Api, monkeypatch: pytest.MonkeyPatch):
    told = Told(api, monkeypatch)
    told.commit(2)
    async with aclosing(told.follow()) as news:
        found = list(await anext(news))
        told.error = Unavailable("away")
        told.commit(2, is_end=True)
        found += [entry async for entry in one_by_one(news)]
    assert [entry.revision for entry in found] == [1, 1, 1, 2, 2, 2]


async def test_who_begins_while_the_database_is_away_is_told_so(api: Api, monkeypatch: pytest.MonkeyPatch):
    told = Told(api, monkeypatch)
    told.error = Unavailable("away")
    answer = await api.http.get(f"/api/executions/{told.id}/events")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_only_the_owner_may_follow(api: Api, monkeypatch: pytest.MonkeyPatch):
    told = Told(api, monkeypatch)
    told.commit(is_end=True)
    answer = await api.http.get(f"/api/executions/{told.id}/events")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith(":not-found")


async def test_an_error_of_the_reading_reaches_every_reader(api: Api, monkeypatch: pytest.MonkeyPatch):
    told = Told(api, monkeypatch)
    told.error = ExecutionNotFound(told.id)
    answers = await asyncio.gather(told.to_the_end(), told.to_the_end(), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ExecutionNotFound}


async def test_a_thousand_readers_cost_one_reading_and_see_every_end_once(api: Api, monkeypatch: pytest.MonkeyPatch):
    told = Told(api, monkeypatch)
    told.commit()
    readers = [asyncio.create_task(told.to_the_end()) for _ in range(1000)]
    await asyncio.sleep(0)
    for _ in range(10):
        told.commit(5)
        await asyncio.sleep(0.01)
    told.commit(is_end=True)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*readers)
    assert all(sequences(one) == list(range(1, 53)) for one in found)
    assert {one[-1]["execution"]["status"] for one in found} == {"COMPLETED"}
    assert told.looks <= 24


async def test_who_falls_behind_what_is_kept_reads_the_rows(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed_module, "_MAX_EVENTS", 8)
    told = Told(api, monkeypatch)
    told.commit()
    async with aclosing(told.follow()) as slow:  # type: ignore[type-var]
        first = [json.loads(entry.data) for entry in await anext(slow)]
        fast = asyncio.create_task(told.to_the_end())
        for _ in range(20):
            told.commit(3)
            await asyncio.sleep(0.005)
        told.commit(is_end=True)
        assert sequences(await asyncio.wait_for(fast, 20)) == list(range(1, 63))
        rest = [json.loads(entry.data) async for entries in slow for entry in entries]
    assert sequences(first + rest) == list(range(1, 63))


async def test_readers_that_drop_and_return_anywhere_see_every_end_once(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed_module, "_MAX_EVENTS", 8)
    told = Told(api, monkeypatch)
    told.commit()

    async def read(stop_after: int) -> list[int]:
        seen: dict[int, int] = {}
        after = -1
        while True:
            entries = told.follow(after)
            async with aclosing(entries):  # type: ignore[type-var]
                count, waiting = 0, []
                async for entry in one_by_one(entries):
                    waiting.append(json.loads(entry.data))
                    if entry.is_last:
                        # What a client keeps is whole revisions; the rest of a broken one comes again.
                        after = entry.revision
                        for sequence in sequences(waiting):
                            seen[sequence] = seen.get(sequence, 0) + 1
                        waiting = []
                    count += 1
                    if count == stop_after:
                        break
                else:
                    return [sequence for sequence, times in sorted(seen.items()) for _ in range(times)]

    readers = [asyncio.create_task(read(stop_after)) for stop_after in (4, 5, 9, 17)]
    for _ in range(20):
        told.commit(3)
        await asyncio.sleep(0.003)
    told.commit(is_end=True)
    async with asyncio.timeout(20):
        for found in await asyncio.gather(*readers):
            assert found == list(range(1, 63))


async def test_what_blocks_stream_is_told_once_and_before_the_ends_of_its_revision(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    told = Told(api, monkeypatch)
    told.commit(nodes=0, outputs=2)
    reader = asyncio.create_task(told.to_the_end())
    await asyncio.sleep(0.02)
    told.commit(nodes=1, outputs=1, is_end=True)
    found = await asyncio.wait_for(reader, 20)
    outputs = [event["output"]["number"] for event in found if event["type"] == "node_output"]
    assert outputs == [1, 2, 3]
    assert [event["type"] for event in found if event["sequence"] == 2] == [
        "node_output",
        "node_execution",
        "graph_execution",
    ]
    assert found[0]["output"] == {"number": 1, "node_execution_id": "x.0", "node_id": "n", "pin": "value", "value": 1}


async def test_a_slow_reader_is_cut_off_and_holds_up_nobody(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_stream, "_SEND_SECONDS", 0.2)
    told = Told(api, monkeypatch)
    told.commit()
    monkeypatch.setattr(verifier, "LOCAL_OWNER", Principal("u", Role.OWNER, Role.OWNER.scopes))
    sent: list[Any] = []
    stuck = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            # A client that takes no more: its buffers are full.
            await stuck.wait()

    async def receive() -> Any:
        await stuck.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": f"/api/executions/{told.id}/events", "raw_path": b"", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    fast = asyncio.create_task(told.to_the_end())
    async with asyncio.timeout(10):
        # It ends by itself, however its end is told.
        await asyncio.gather(api.app(scope, receive, send), return_exceptions=True)
    told.commit(is_end=True)
    assert sequences(await asyncio.wait_for(fast, 20)) == [1, 2]
    assert sum(message["type"] == "http.response.body" for message in sent) == 1
