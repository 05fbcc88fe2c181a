"""Graph versions as the hot path reads them: plain SQL, no engine in between.  Editing them stands in graphs.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.errors import GraphNotFound
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.jsonvalue import loads
from autogpt_server.model.policy import GraphPolicy, NodePolicy

#: Of most nodes; shared, since it never changes.
_NO_POLICY = NodePolicy()


class Wanted(NamedTuple):
    """What somebody wants to execute: a version of a graph, or, without one, whichever is active."""

    user_id: str
    graph_id: str
    version: int | None


def find_version(database: Database, wanted: Wanted) -> int:
    """Tell which version of a graph a user executes: the given one, or else the active one.

    Raises:
        GraphNotFound: Unknown, deleted, or another user's.
    """
    with database.read() as c:
        found = _find(database, c, wanted)
    if found is None:
        raise GraphNotFound(wanted.graph_id, wanted.version)
    return found


def find_stale(database: Database, connection: Connection, choices: Iterable[tuple[Wanted, int]]) -> set[Wanted]:
    """Tell, inside a transaction, for which of these ``find_version`` would not give the version beside it."""
    return {wanted for wanted, version in set(choices) if _find(database, connection, wanted) != version}


def _find(database: Database, connection: Connection, wanted: Wanted) -> int | None:
    which = '"isActive" = ?' if wanted.version is None else '"version" = ?'
    text = f'SELECT "version" FROM "AgentGraph" WHERE "id" = ? AND "userId" = ? AND "deletedAt" IS NULL AND {which}'
    value = True if wanted.version is None else wanted.version
    return connection.execute(database.sql(text), (wanted.graph_id, wanted.user_id, value)).scalar()


def load_version(database: Database, graph_id: str, version: int) -> Graph:
    """Read one version, deleted or not: what was accepted runs to its end.  It never changes, so it may be kept.

    Raises:
        GraphNotFound: There is none.
    """
    key = (graph_id, version)
    with database.read() as c:
        head = c.execute(
            database.sql(
                'SELECT "name","description","isActive","isTemplate","policy" FROM "AgentGraph" '
                'WHERE "id" = ? AND "version" = ?'
            ),
            key,
        ).first()
        if head is None:
            raise GraphNotFound(graph_id, version)
        nodes = c.execute(
            database.sql(
                'SELECT n."id", b."id", n."agentBlockName", n."constantInput", n."policy" FROM "AgentNode" n '
                'JOIN "AgentBlock" b ON b."name" = n."agentBlockName" '
                'WHERE n."agentGraphId" = ? AND n."agentGraphVersion" = ?'
            ),
            key,
        ).all()
        links = c.execute(
            database.sql(
                'SELECT "id","agentNodeSourceId","sourceName","agentNodeSinkId","sinkName","isStatic" '
                'FROM "AgentNodeLink" WHERE "agentGraphId" = ? AND "agentGraphVersion" = ?'
            ),
            key,
        ).all()
    return Graph(
        id=graph_id,
        version=version,
        name=head[0],
        description=head[1],
        is_active=bool(head[2]),
        is_template=bool(head[3]),
        policy=GraphPolicy.model_validate(loads(head[4])),
        nodes=tuple(
            Node(
                id=n[0],
                block_id=n[1],
                block_name=n[2],
                input_default=loads(n[3]),
                policy=_NO_POLICY if n[4] == "{}" else NodePolicy.model_validate(loads(n[4])),
            )
            for n in nodes
        ),
        links=tuple(
            Link(id=k[0], source_id=k[1], source_name=k[2], sink_id=k[3], sink_name=k[4], is_static=bool(k[5]))
            for k in links
        ),
    )
