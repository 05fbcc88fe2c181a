"""A draft says beforehand what the rows say after the commit, and nothing else ever."""

from __future__ import annotations

from typing import Any

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.drafts import Draft
from autogpt_server.data.executions import Executions
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.records import Ending, OutputRow, Record, recorder
from autogpt_server.events.nudge import Nudger, Topic
from autogpt_server.executor.drafting import Drafting
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.faults.test_failing_statements import Surroundings
from tests.make_graph import node_id

COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
LOGS = '[["2026-01-01T00:00:00Z","INFO","said"]]'


def rows(id_: str) -> list[NodeRow]:
    """The end of the node that runs, and a node that failed after two tries, the last one first."""
    now = now_ms()
    failed = NodeRow(f"{id_}.1", node_id("a"), FAILED, '{"x": "ü\\u0000"}', 1, now - 5, now - 3)
    failed.sequence, failed.outputs, failed.error, failed.ended_ms = 2, '[["error","no"]]', "no", now
    failed.tries, failed.logs = 2, LOGS
    return [failed, Surroundings.row(id_, ends=True)]


@pytest.fixture
def s(database: Database) -> Surroundings:
    return Surroundings(database)


def write(s: Surroundings, *records: Record) -> list[Draft | None]:
    told: list[Draft | None] = []
    with s.database.write() as c:
        assert all(recorder(s.database, s.lease, told.append)(c, list(records)))
    return told


@pytest.mark.parametrize("ending", [None, Ending(COMPLETED, '{"sum": [1, "ü"]}', '{"seconds": 0.5}', None)])
def test_a_draft_tells_what_a_look_finds_after_the_commit(s: Surroundings, ending: Ending | None) -> None:
    id_ = s.running[0]
    executions = Executions(s.database)
    before = executions.get(DEFAULT_USER_ID, id_)

    (draft,) = write(s, Record(id_, 1, rows(id_), ending))

    assert draft is not None
    received = Draft.unpack(draft.pack())
    assert received is not None
    assert Draft.execution_of(draft.pack()) == id_
    assert received.changes(before) == executions.changes(id_, before.revision)


def test_what_one_execution_alone_does_not_tell_is_no_draft(s: Surroundings) -> None:
    first, second = s.running
    several = write(s, Record(first, 1, rows(first)), Record(second, 1, rows(second)))
    streamed = write(s, Record(first, 1, [], None, [OutputRow(1, 0, f"{first}.0", "value", "1")]))
    # Other nodes may end with it.
    failed = write(s, Record(first, 1, [], Ending(FAILED, "{}", "{}", "broken")))
    assert several == streamed == failed == [None]


def test_an_end_that_is_written_again_is_no_draft(s: Surroundings) -> None:
    record = Record(s.running[0], 1, [], Ending(COMPLETED, "{}", "{}", None))
    assert write(s, record)[0] is not None
    assert write(s, record) == [None]


class Sent(Nudger):
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.drafts: list[Draft | None] = []
        self.words: list[list[str]] = []

    def send_data(self, topic: Topic, data: bytes) -> None:
        assert topic is Topic.DRAFTS
        self.drafts.append(Draft.unpack(data))

    def send(self, topic: Topic, ids: object = ()) -> None:
        assert topic is Topic.CHANGES
        self.words.append(list(ids))  # pyright: ignore


ROW = ("x.0", "x", "n", 1, "COMPLETED", "{}", "[]", None, 1, 1, None, 3, 0, 0, 0)


def test_only_the_last_try_to_commit_is_ever_told_durable() -> None:
    sent = Sent()
    drafting = Drafting(sent, "lease")
    drafting.send(Draft("x", 3, [ROW] * 5, None))
    drafting.send(Draft("x", 3, [ROW] * 5, None))
    drafting.tell_durable({"x"})
    drafting.send(Draft("x", 4, [ROW] * 5, None))
    drafting.send(None)
    drafting.tell_durable({"x"})
    drafting.tell_durable({"y"})
    first, second, third = sent.drafts
    assert first and second and third
    assert len({first.name, second.name, third.name}) == 3
    assert sent.words == [["x", second.name], ["x"], ["y"]]


@pytest.mark.parametrize("rows", [[ROW] * 4, [ROW] * 401, [(*ROW[:6], "a" * 30_000, *ROW[7:])] * 5])
def test_what_helps_nobody_or_is_large_is_not_sent(rows: list[tuple[Any, ...]]) -> None:
    sent = Sent()
    drafting = Drafting(sent, "lease")
    drafting.send(Draft("x", 3, rows, None))
    drafting.tell_durable({"x"})
    assert (sent.drafts, sent.words) == ([], [["x"]])


@pytest.mark.parametrize("text", [b"", b"x", b"x ", b"x []", b'x ["n", 1, [1], []]', b"x {}", b"\xff\xfe [1,2,3,4]"])
def test_what_is_no_draft_is_not_taken_for_one(text: bytes) -> None:
    assert Draft.unpack(text) is None
