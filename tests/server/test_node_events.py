"""The event of a node execution is written from the columns as they are; it must say what everything else says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.leases import Leases
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.data.records import Record, recorder
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.server.shapes import Event, NodeExecutionShape, node_event
from tests.make_graph import make_graph, node_id, store_graph
from tests.odd_blocks import RecordingBlock

REGISTRY = BlockRegistry([RecordingBlock])
ENDED: dict[str, Any] = {"status": "COMPLETED", "sequence": 1, "outputs": "[]", "ended_ms": 1_767_225_600_005}


@pytest.mark.parametrize(
    "row",
    [
        {},
        ENDED,
        ENDED | {"started_ms": 1_767_225_600_000, "queued_ms": 999, "tries": 3},
        ENDED | {"inputs": f'{{"big":{10**30},"text":"\u2028\u00e9"}}'},
        ENDED | {"outputs": '[["a",1],["b",null],["a",[2.5]],["a b\\"",{"c":[]}]]'},
        ENDED | {"outputs": f'[["a",{10**30}],["b",1]]'},
        {
            **ENDED,
            "status": "FAILED",
            "error": 'it "broke"\n',
            "logs": '[{"at":"2026-01-01T00:00:00.120000Z","level":"INFO","text":"x"}]',
        },
    ],
)
def test_an_event_of_a_node_shows_it_as_everything_else_does(database: Database, row: dict[str, Any]) -> None:
    graph = make_graph(REGISTRY, {"a": ("RecordingBlock", {})})
    store_graph(database, REGISTRY, graph)
    queue, executions = ExecutionQueue(database), Executions(database)
    lease = Leases(database).register("here", 1)
    execution_id = new_id()
    with database.write() as c:
        queue.accept(c, [[NewExecution(execution_id, graph.id, 1, DEFAULT_USER_ID, "{}")]])
    queue.claim(lease, 1)
    fields = {
        "status": "RUNNING", "inputs": "{}", "attempt": 1, "queued_ms": 1_767_225_600_001,
        "started_ms": 1_767_225_600_002,
    }  # fmt: skip
    node = NodeRow(**({"id": f"{execution_id}.0", "node_id": node_id("a")} | fields | row))
    with database.write() as c:
        recorder(database, lease)(c, [Record(execution_id, 1, [node])])
    names = {node_id("a"): "RecordingBlock"}

    (change,) = executions.changes(execution_id, 0).nodes
    (shown,) = executions.node_executions(execution_id, limit=1).items

    event = Event(sequence=change.revision, type="node_execution", execution=NodeExecutionShape.of(shown, names))
    told = json.loads(node_event(change, names))
    assert told == json.loads(event.model_dump_json())
    assert list(told["execution"]) == list(NodeExecutionShape.model_fields)
