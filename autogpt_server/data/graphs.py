"""Graphs as their owners edit them: saving, reading, listing, choosing the active version, deleting.

A saved version never changes, and rows are never deleted.  Another user's graph is not found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prisma import Batch, Prisma
from prisma.errors import UniqueViolationError
from prisma.models import AgentGraph, AgentNode, AgentNodeLink
from pydantic import BaseModel, ConfigDict

from autogpt_server.data.graph_rows import insert_nodes_and_links, policy_text
from autogpt_server.data.pages import Page, bad_cursor, decode_cursor, encode_cursor
from autogpt_server.data.prisma_client import provider_of
from autogpt_server.errors import ConflictError, GraphNotFound, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.jsonvalue import loads
from autogpt_server.model.policy import GraphPolicy, NodePolicy

if TYPE_CHECKING:
    from prisma.types import AgentGraphWhereInput

#: Saves of one graph at the same moment that all find room; each loses at most to those before it.
_ATTEMPTS = 50


class GraphSummary(BaseModel):
    """A graph version without its nodes and links."""

    model_config = ConfigDict(frozen=True)

    id: str
    version: int
    name: str
    description: str
    is_active: bool
    created_at: datetime


async def create_graph(db: Prisma, user_id: str, graph: Graph) -> Graph:
    """Save a graph as the next version of its id, and make that the only active one.

    Saves of the same graph at the same moment get a version each.  The graph must have been checked.

    Raises:
        ConflictError: The id belongs to another user.
    """
    for _ in range(_ATTEMPTS):
        latest = await db.agentgraph.find_first(where={"id": graph.id}, order={"version": "desc"})
        if latest is not None and latest.userId != user_id:
            raise ConflictError(f"The graph id {graph.id} is taken; import the graph with ?new_ids=true to copy it.")
        version = 1 if latest is None else latest.version + 1
        stored = graph.model_copy(update={"version": version, "is_active": True})
        try:
            await _insert(db, user_id, stored)
        except UniqueViolationError as error:
            # Somebody else saved this version first.  Anything else is not cured by another number.
            if not await db.agentgraph.count(where={"id": graph.id, "version": version}):
                raise error
            continue
        return _ordered(stored)
    raise Unavailable(f"Graph {graph.id} is being saved by too many at once; save it again.")


async def get_graph(db: Prisma, user_id: str, graph_id: str, version: int | None = None) -> Graph:
    """Read a version of a graph, the active one by default.

    Raises:
        GraphNotFound: Unknown, deleted, another user's, or without an active version.
    """
    where: AgentGraphWhereInput = {"id": graph_id, "userId": user_id, "deletedAt": None}
    if version is None:
        where["isActive"] = True
    else:
        where["version"] = version
    head = await db.agentgraph.find_first(where=where)
    if head is None:
        raise GraphNotFound(graph_id, version)
    return await _read(db, head)


async def list_graphs(db: Prisma, user_id: str, *, limit: int, cursor: str | None = None) -> Page[GraphSummary]:
    """Read a page of a user's graphs, the active version of each, newest first.

    Raises:
        InvalidError: The cursor is not one of this list.
    """
    where: AgentGraphWhereInput = {"userId": user_id, "isActive": True, "deletedAt": None}
    if cursor is not None:
        at, graph_id = _graph_position(cursor)
        where["OR"] = [{"createdAt": {"lt": at}}, {"createdAt": at, "id": {"lt": graph_id}}]
    rows = await db.agentgraph.find_many(where=where, order=[{"createdAt": "desc"}, {"id": "desc"}], take=limit + 1)
    return _page(rows, limit, lambda row: [row.createdAt.isoformat(), row.id])


async def list_versions(
    db: Prisma, user_id: str, graph_id: str, *, limit: int, cursor: str | None = None
) -> Page[GraphSummary]:
    """Read a page of a graph's versions, newest first.

    Raises:
        GraphNotFound: Unknown, deleted, or another user's.
        InvalidError: The cursor is not one of this list.
    """
    where: AgentGraphWhereInput = {"id": graph_id, "userId": user_id, "deletedAt": None}
    if cursor is not None:
        version = decode_cursor(cursor)
        if type(version) is not int:
            raise bad_cursor()
        where["version"] = {"lt": version}
    rows = await db.agentgraph.find_many(where=where, order={"version": "desc"}, take=limit + 1)
    if not rows and cursor is None:
        raise GraphNotFound(graph_id)
    return _page(rows, limit, lambda row: row.version)


async def set_active_version(db: Prisma, user_id: str, graph_id: str, version: int) -> Graph:
    """Make a version the only active one, and return it.

    Raises:
        GraphNotFound: The graph or the version is unknown, deleted, or another user's.
    """
    graph = await get_graph(db, user_id, graph_id, version)
    async with db.batch_() as batch:
        _lock(batch, graph_id)
        batch.agentgraph.update_many(where={"id": graph_id, "version": {"not": version}}, data={"isActive": False})
        # Not one that was deleted meanwhile.
        batch.agentgraph.update_many(
            where={"id": graph_id, "version": version, "deletedAt": None}, data={"isActive": True}
        )
    return graph.model_copy(update={"is_active": True})


async def delete_graph(db: Prisma, user_id: str, graph_id: str) -> None:
    """Hide every version of a graph.  Executions stay readable; saving the id again goes on with the next version.

    Raises:
        GraphNotFound: Unknown, deleted, or another user's.
    """
    visible: AgentGraphWhereInput = {"id": graph_id, "userId": user_id, "deletedAt": None}
    if not await db.agentgraph.count(where=visible):
        raise GraphNotFound(graph_id)
    async with db.batch_() as batch:
        _lock(batch, graph_id)
        batch.agentgraph.update_many(where=visible, data={"deletedAt": clock.now(), "isActive": False})


def _lock(batch: Batch, graph_id: str) -> None:
    # Every change of a graph first writes its version 1.  So PostgreSQL runs them one after the other, and each sees
    # the versions of those before it; else two versions could end up active.
    batch.agentgraph.update_many(where={"id": graph_id, "version": 1}, data={"updatedAt": clock.now()})


async def _insert(db: Prisma, user_id: str, graph: Graph) -> None:
    batch = db.batch_()
    _lock(batch, graph.id)
    batch.agentgraph.create(
        data={
            "id": graph.id,
            "version": graph.version,
            "name": graph.name,
            "description": graph.description,
            "isTemplate": graph.is_template,
            "policy": policy_text(graph.policy),
            "userId": user_id,
        }
    )
    batch.agentgraph.update_many(where={"id": graph.id, "version": {"not": graph.version}}, data={"isActive": False})
    await insert_nodes_and_links(batch, provider_of(db), graph)
    await batch.commit()


async def _read(db: Prisma, head: AgentGraph) -> Graph:
    # A version never changes, so these need no common transaction.
    nodes, links = await asyncio.gather(
        db.agentnode.find_many(where={"agentGraphId": head.id, "agentGraphVersion": head.version}),
        db.agentnodelink.find_many(where={"agentGraphId": head.id, "agentGraphVersion": head.version}),
    )
    # Apart from the nodes: a block's schemas would otherwise come along with each of them.
    names = sorted({node.agentBlockName for node in nodes})
    blocks = await db.agentblock.find_many(where={"name": {"in": names}}) if names else []
    block_ids = {block.name: block.id for block in blocks}
    graph = Graph(
        id=head.id,
        version=head.version,
        name=head.name,
        description=head.description,
        is_active=head.isActive,
        is_template=head.isTemplate,
        policy=GraphPolicy.model_validate(loads(head.policy)),
        nodes=tuple(_node(row, block_ids[row.agentBlockName]) for row in nodes),
        links=tuple(_link(row) for row in links),
    )
    return _ordered(graph)


def _node(row: AgentNode, block_id: str) -> Node:
    return Node(
        id=row.id,
        block_id=block_id,
        block_name=row.agentBlockName,
        input_default=loads(row.constantInput),
        metadata=loads(row.metadata),
        policy=NodePolicy.model_validate(loads(row.policy)),
    )


def _link(row: AgentNodeLink) -> Link:
    return Link(
        id=row.id,
        source_id=row.agentNodeSourceId,
        source_name=row.sourceName,
        sink_id=row.agentNodeSinkId,
        sink_name=row.sinkName,
        is_static=row.isStatic,
    )


def _ordered(graph: Graph) -> Graph:
    # By code points, which a database's collation need not follow: execution goes by this order.
    return graph.model_copy(
        update={
            "nodes": tuple(sorted(graph.nodes, key=lambda node: node.id)),
            "links": tuple(sorted(graph.links, key=lambda link: link.id)),
        }
    )


def _page(rows: list[AgentGraph], limit: int, position: Callable[[AgentGraph], Any]) -> Page[GraphSummary]:
    items = [_summary(row) for row in rows[:limit]]
    return Page(items, encode_cursor(position(rows[limit - 1])) if len(rows) > limit else None)


def _summary(row: AgentGraph) -> GraphSummary:
    return GraphSummary(
        id=row.id,
        version=row.version,
        name=row.name,
        description=row.description,
        is_active=row.isActive,
        created_at=row.createdAt,
    )


def _graph_position(cursor: str) -> tuple[datetime, str]:
    match decode_cursor(cursor):
        case [str(at), str(graph_id)]:
            try:
                moment = datetime.fromisoformat(at)
                if moment.tzinfo is not None:
                    # Some moments near the ends of the calendar do not exist in UTC.
                    return moment.astimezone(UTC), graph_id
            except (ValueError, OverflowError):
                raise bad_cursor() from None
            raise bad_cursor()
        case _:
            raise bad_cursor()
