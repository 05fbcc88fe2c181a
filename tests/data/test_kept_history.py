"""What a rerun takes over, as rows."""

from __future__ import annotations

from dataclasses import replace

from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.history import read_history
from autogpt_server.data.kept_history import copy_kept
from autogpt_server.data.leases import Leases
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.data.records import Record, recorder
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.rerun import Kept
from autogpt_server.model.wiring import StreamedOutput
from tests.make_graph import make_graph, node_id, store_graph
from tests.odd_blocks import RecordingBlock

REGISTRY = BlockRegistry([RecordingBlock])


def test_ends_and_streamed_outputs_are_copied_under_new_names_and_repeating_that_is_harmless(
    database: Database,
) -> None:
    graph = make_graph(REGISTRY, {"a": ("RecordingBlock", {})})
    store_graph(database, REGISTRY, graph)
    queue, lease = ExecutionQueue(database), Leases(database).register("here", 1)
    first, second = (NewExecution(new_id(), graph.id, 1, DEFAULT_USER_ID, "{}") for _ in range(2))
    with database.write() as c:
        queue.accept(c, [[first]])
    queue.claim(lease, 1)
    row = NodeRow(
        f"{first.id}.4", node_id("a"), "COMPLETED", '{"value":1}', 1, 1000, 2000, 9, '[["value",1]]', None, 3000
    )
    row.tries, row.logs = 3, '[{"at":"2026-01-02T03:04:05.678Z","level":"info","text":"x"}]'
    with database.write() as c:
        assert recorder(database, lease)(c, [Record(first.id, 1, [row])]) == [True]
        text = (
            'INSERT INTO "AgentNodeOutput" ("agentGraphExecutionId","number","afterSequence","agentNodeExecutionId",'
            '"pin","value","revision") VALUES (?,?,?,?,?,?,2)'
        )
        c.execute(database.sql(text), (first.id, 7, 5, f"{first.id}.4", "value", '{"k":[1.50]}'))

    history = read_history(database, first.id)
    (end,), (streamed,) = history.ends, history.streamed
    assert streamed == StreamedOutput(7, 5, 4, node_id("a"), "value", {"k": [1.5]})
    (recorded,) = Executions(database).history(first.id)
    kept = Kept(
        [(4, replace(end, ordinal=2, sequence=1))],
        [(7, replace(streamed, number=1, after_sequence=0, ordinal=2))],
    )
    for _ in range(2):
        with database.write() as c:
            queue.accept(c, [[second]])
            copy_kept(database, c, first.id, second.id, kept)

    (copied,) = Executions(database).history(second.id)
    assert copied == recorded._replace(id=f"{second.id}.2", execution_id=second.id, sequence=1, attempt=0, revision=1)
    assert read_history(database, second.id).streamed == [StreamedOutput(1, 0, 2, node_id("a"), "value", {"k": [1.5]})]
    with database.read() as c:
        text = database.sql('SELECT "tries","logs" FROM "AgentNodeExecution" WHERE "id" = ?')
        assert tuple(c.execute(text, (f"{second.id}.2",)).one()) == (3, row.logs)
