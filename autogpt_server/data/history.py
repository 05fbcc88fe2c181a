"""What is recorded of an execution, for taking it up again."""

from __future__ import annotations

from dataclasses import dataclass

from autogpt_server.data.database import Database
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.jsonvalue import loads
from autogpt_server.model.wiring import NodeEnd, StreamedOutput

_NODES = """
SELECT "id","agentNodeId","sequence","status","inputData","outputData","error","tries","logs" FROM "AgentNodeExecution"
WHERE "agentGraphExecutionId" = ? ORDER BY "sequence"
"""
_OUTPUTS = """
SELECT "number","afterSequence","agentNodeExecutionId","pin","value" FROM "AgentNodeOutput"
WHERE "agentGraphExecutionId" = ? ORDER BY "number"
"""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A node execution that has begun and not ended."""

    #: Runs by the retry policy, the one that was broken off among them.
    tries: int
    #: What it has logged, as JSON text.
    logs: str | None


@dataclass(frozen=True, slots=True)
class History:
    """Everything that a run of an execution goes on from."""

    ends: list[NodeEnd]
    streamed: list[StreamedOutput]
    #: By ordinal.
    unfinished: dict[int, Unfinished]


def read_history(db: Database, execution_id: str) -> History:
    """Read what is recorded of an execution.

    Raises:
        Unavailable: The database is away.
    """
    with db.read() as c:
        nodes = c.execute(db.sql(_NODES), (execution_id,)).all()
        outputs = c.execute(db.sql(_OUTPUTS), (execution_id,)).all()
    node_ids = {row[0]: row[1] for row in nodes}
    ends: list[NodeEnd] = []
    unfinished: dict[int, Unfinished] = {}
    for node_execution_id, node_id, sequence, status, inputs, pairs, error, tries, logs in nodes:
        ordinal = _ordinal(node_execution_id)
        if sequence is None:
            unfinished[ordinal] = Unfinished(tries, logs)
            continue
        yielded = [] if pairs is None else [(pin, value) for pin, value in loads(pairs)]
        ends.append(NodeEnd(ordinal, node_id, sequence, ExecutionStatus(status), loads(inputs), yielded, error))
    streamed = [
        StreamedOutput(number, after, _ordinal(owner), node_ids.get(owner, ""), pin, loads(value))
        for number, after, owner, pin, value in outputs
    ]
    return History(ends, streamed, unfinished)


def _ordinal(node_execution_id: str) -> int:
    return int(node_execution_id.rpartition(".")[2])
