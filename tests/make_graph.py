"""The one builder of graphs for tests: nodes by short names, links as ``"source.pin -> sink.pin"``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from autogpt_server.data.database import Database
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.model.policy import GraphPolicy, NodePolicy

Nodes = Mapping[str, tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], dict[str, Any]]]

_NAMES = uuid.UUID("6f1b1d4e-7d0c-4c59-9a53-0d4f1c1f4b11")


def node_id(name: str) -> str:
    """The id that ``make_graph`` gives to a node of this short name."""
    return str(uuid.uuid5(_NAMES, name))


def make_graph(
    registry: BlockRegistry,
    nodes: Nodes,
    links: list[str] | None = None,
    name: str = "test",
    policy: dict[str, Any] | None = None,
) -> Graph:
    """Build a graph.

    Args:
        registry: Finds the blocks.
        nodes: Short name -> (block name, input defaults), or with the node's policy as a third.
        links: ``"source.pin -> sink.pin"`` each; a leading ``=`` makes one static.
        name: Its name.
        policy: Of the graph.
    """
    return Graph(
        id=new_id(),
        name=name,
        policy=GraphPolicy.model_validate(policy or {}),
        nodes=tuple(
            sorted(
                (
                    Node(
                        id=node_id(short),
                        block_id=registry.get(block).id,
                        block_name=registry.get(block).name,
                        input_default=defaults,
                        policy=NodePolicy.model_validate(policies[0] if policies else {}),
                    )
                    for short, (block, defaults, *policies) in nodes.items()
                ),
                key=lambda node: node.id,
            )
        ),
        links=tuple(_link(text, i, registry, nodes) for i, text in enumerate(links or [])),
    )


def _link(text: str, index: int, registry: BlockRegistry, nodes: Nodes) -> Link:
    source, sink = text.removeprefix("=").split(" -> ")
    source_name, source_pin = source.split(".", 1)
    sink_name, sink_pin = sink.split(".", 1)
    return Link(
        id=f"00000000-0000-4000-8000-{index:012d}",
        source_id=node_id(source_name),
        source_name=source_pin,
        sink_id=node_id(sink_name),
        sink_name=sink_pin,
        is_static=text.startswith("=") or registry.get(nodes[source_name][0]).static_output,
    )


def graph_json(graph: Graph) -> dict[str, Any]:
    """Write a graph as a client posts it."""
    return graph.model_dump(mode="json")


def store_graph(database: Database, registry: BlockRegistry, graph: Graph, user_id: str = DEFAULT_USER_ID) -> None:
    """Store a graph, its user and its blocks with plain SQL."""
    now = database.to_column(datetime.now(UTC))
    key = (graph.id, graph.version)
    with database.write() as c:
        c.execute(
            database.sql(
                'INSERT INTO "User" ("id","email","timezone","createdAt","updatedAt") VALUES (?,?,\'UTC\',?,?) '
                "ON CONFLICT DO NOTHING"
            ),
            (user_id, f"{user_id}@localhost", now, now),
        )
        for block in registry:
            c.execute(
                database.sql(
                    'INSERT INTO "AgentBlock" ("name","id","inputSchema","outputSchema","createdAt","updatedAt") '
                    "VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING"
                ),
                (block.name, block.id, dumps(block.input_schema), dumps(block.output_schema), now, now),
            )
        c.execute(
            database.sql(
                'INSERT INTO "AgentGraph" ("id","version","name","userId","isActive","policy","createdAt","updatedAt") '
                "VALUES (?,?,?,?,?,?,?,?)"
            ),
            (*key, graph.name, user_id, graph.is_active, graph.policy.model_dump_json(), now, now),
        )
        for node in graph.nodes:
            c.execute(
                database.sql(
                    'INSERT INTO "AgentNode" '
                    '("agentGraphId","agentGraphVersion","id","agentBlockName","constantInput","policy") '
                    "VALUES (?,?,?,?,?,?)"
                ),
                (*key, node.id, node.block_name, dumps(node.input_default), node.policy.model_dump_json()),
            )
        for link in graph.links:
            c.execute(
                database.sql(
                    'INSERT INTO "AgentNodeLink" ("agentGraphId","agentGraphVersion","id","agentNodeSourceId",'
                    '"sourceName","agentNodeSinkId","sinkName","isStatic") VALUES (?,?,?,?,?,?,?,?)'
                ),
                (*key, link.id, link.source_id, link.source_name, link.sink_id, link.sink_name, link.is_static),
            )
