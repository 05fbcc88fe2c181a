"""What a trace shows beside the rows of a commit: which graph, which blocks, and what an execution is a part of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from autogpt_server.data.database import Database


@dataclass(frozen=True, slots=True)
class ExecutionFacts:
    """What never changes about an execution."""

    graph_id: str
    graph_version: int
    user_id: str
    parent_execution_id: str | None
    rerun_of_id: str | None


def read_execution_facts(database: Database, ids: Collection[str]) -> dict[str, ExecutionFacts]:
    """Read the facts of executions by their ids.

    Raises:
        Unavailable: The database is away.
    """
    text = (
        'SELECT "id","agentGraphId","agentGraphVersion","userId","parentExecutionId","rerunOfId" '
        f'FROM "AgentGraphExecution" WHERE "id" {database.among}'
    )
    with database.read() as c:
        rows = c.execute(database.sql(text), (database.to_list(sorted(ids)),)).all()
    return {row[0]: ExecutionFacts(*row[1:]) for row in rows}


def read_block_names(database: Database, graph_id: str, version: int) -> dict[str, str]:
    """Read the names of a graph version's blocks by node.

    Raises:
        Unavailable: The database is away.
    """
    text = 'SELECT "id","agentBlockName" FROM "AgentNode" WHERE "agentGraphId" = ? AND "agentGraphVersion" = ?'
    with database.read() as c:
        return {row[0]: row[1] for row in c.execute(database.sql(text), (graph_id, version)).all()}
