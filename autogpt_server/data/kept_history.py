"""What one execution takes over of what another recorded: rows copied within the database, their texts unread."""

from __future__ import annotations

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.model.ids import node_execution_id
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.model.rerun import Kept

# Attempt 0: no attempt of the new execution ran it.
_ENDS = """
INSERT INTO "AgentNodeExecution"
("id","agentGraphExecutionId","agentNodeId","sequence","status","inputData","outputData","error","attempt","tries",
 "logs","revision","queuedAt","startedAt","endedAt")
SELECT {new}, ?, n."agentNodeId", {number}, n."status", n."inputData", n."outputData", n."error", 0,
       n."tries", n."logs", 1, n."queuedAt", n."startedAt", n."endedAt"
FROM {kept} JOIN "AgentNodeExecution" n ON n."id" = {old} WHERE true
ON CONFLICT ("id") DO NOTHING
"""
_OUTPUTS = """
INSERT INTO "AgentNodeOutput"
("agentGraphExecutionId","number","afterSequence","agentNodeExecutionId","pin","value","revision")
SELECT ?, {number}, {after}, {new}, n."pin", n."value", 1
FROM {kept} JOIN "AgentNodeOutput" n ON n."agentGraphExecutionId" = ? AND n."number" = {old} WHERE true
ON CONFLICT ("agentGraphExecutionId","number") DO NOTHING
"""
_OF_JSON = {
    "sqlite": {
        "kept": "json_each(?) k",
        **{name: f"k.value->>'{name}'" for name in ("new", "number", "old", "after")},
    },
    "postgresql": {
        "kept": "json_to_recordset(?::json) AS k (new text, number int, old {old_type}, after int)",
        **{name: f"k.{name}" for name in ("new", "number", "old", "after")},
    },
}


def copy_kept(db: Database, c: Connection, original_id: str, execution_id: str, kept: Kept) -> None:
    """Store what a new execution takes over, in the transaction that accepts it.  Safe to repeat."""
    ends = [
        {
            "old": node_execution_id(original_id, ordinal),
            "new": node_execution_id(execution_id, end.ordinal),
            "number": end.sequence,
        }
        for ordinal, end in kept.ends
    ]
    outputs = [
        {
            "old": number,
            "new": node_execution_id(execution_id, output.ordinal),
            "number": output.number,
            "after": output.after_sequence,
        }
        for number, output in kept.outputs
    ]
    if ends:
        c.execute(_insert(db, _ENDS, "text"), (execution_id, dumps(ends)))
    if outputs:
        c.execute(_insert(db, _OUTPUTS, "int"), (execution_id, dumps(outputs), original_id))


def _insert(db: Database, text: str, old_type: str) -> str:
    parts = {name: part.format(old_type=old_type) for name, part in _OF_JSON[db.provider].items()}
    return db.sql(text.format(**parts))
