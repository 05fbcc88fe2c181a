"""What must be stored before what, seen by blocks while they run: through connections of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from autogpt_server.events.nudge import Nudger
from autogpt_server.model.block import BlockContext
from autogpt_server.model.execution import ExecutionStatus
from tests.executor.conftest import Bench
from tests.make_graph import node_id
from tests.odd_blocks import RecordingBlock

COMPLETED = ExecutionStatus.COMPLETED


class Witness:
    """Makes every RecordingBlock note what is stored of its execution at the moment when it runs."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = bench.database
        #: Per run: node id -> (status, sequence, attempt); and the streamed values.
        self.nodes: list[dict[str, tuple[str, int | None, int]]] = []
        self.streamed: list[list[str]] = []
        monkeypatch.setattr(RecordingBlock, "run", lambda _, input_data, context: self._run(input_data, context))

    def _run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        db = self._database
        which = 'WHERE "agentGraphExecutionId" = ?'
        with db.read() as c:
            text = f'SELECT "agentNodeId","status","sequence","attempt" FROM "AgentNodeExecution" {which}'
            rows = c.execute(db.sql(text), (context.execution_id,)).all()
            text = f'SELECT "value" FROM "AgentNodeOutput" {which} ORDER BY "number"'
            self.streamed.append(c.execute(db.sql(text), (context.execution_id,)).scalars())
        self.nodes.append({row[0]: (row[1], row[2], row[3]) for row in rows})
        yield "value", input_data.value


async def test_a_node_with_effects_starts_after_its_producers_and_its_own_start_are_stored(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(running, monkeypatch)
    execution = await running.execute(
        {
            "first": ("RecordingBlock", {"value": 1}),
            "pure": ("CalculatorBlock", {"operation": "Add", "b": 1}),
            "second": ("RecordingBlock", {}),
        },
        ["first.value -> pure.a", "pure.result -> second.value"],
    )
    assert execution.status is COMPLETED
    first, pure, second = (node_id(name) for name in ("first", "pure", "second"))
    assert witness.nodes == [
        {first: ("RUNNING", None, 1)},
        {first: ("COMPLETED", 1, 1), pure: ("COMPLETED", 2, 1), second: ("RUNNING", None, 1)},
    ]


async def test_what_is_streamed_goes_downstream_after_it_is_stored(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(running, monkeypatch)
    # One that may run ahead of commits: nothing else holds it back.
    monkeypatch.setattr(RecordingBlock, "pure", True)
    execution = await running.execute(
        {"numbers": ("StreamBlock", {"count": 3}), "each": ("RecordingBlock", {})}, ["numbers.value -> each.value"]
    )
    assert execution.status is COMPLETED
    assert len(witness.streamed) == 3
    for i, stored in enumerate(witness.streamed):
        assert stored[: i + 1] == [str(number) for number in range(i + 1)]


async def test_what_nobody_is_nudged_of_is_found_all_the_same(running: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nudger, "send", lambda *_: None)
    monkeypatch.setattr(Nudger, "send_to_one", lambda *_: None)
    for _ in range(3):
        execution = await running.execute({"a": ("CalculatorBlock", {"operation": "Add", "a": 1, "b": 1})})
        assert execution.status is COMPLETED
