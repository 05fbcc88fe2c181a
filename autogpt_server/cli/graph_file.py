"""Graph files: read and checked without a server, and compared with what a server holds."""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from autogpt_server.blocks.registry import load_registry
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.check import Limits
from autogpt_server.model.graph import Graph
from autogpt_server.model.graph_import import ParsedGraph, parse_graph
from autogpt_server.model.jsonvalue import loads
from autogpt_server.settings import Settings

#: Names graphs that have no id of their own by their content, so that the same file is always the same graph.
_CONTENT_IDS = uuid.UUID("5f0c2c0e-6a3f-4a55-8e55-0a5d7a0f7d53")


@dataclass(frozen=True)
class GraphFile:
    """A graph file that was read: the document as it will be posted, and what it says."""

    document: dict[str, Any]
    parsed: ParsedGraph


def read_json(path: Path) -> Any:
    """Read a JSON file; "-" is standard input.

    Raises:
        InvalidError: It cannot be read or is no JSON; says where.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return loads(data)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidError("The file cannot be read.", [Problem(str(path), reason or type(error).__name__)]) from None


def read_graph_file(path: Path, settings: Settings) -> GraphFile:
    """Read a graph file and check it against the blocks that are installed here.

    Raises:
        InvalidError: The file cannot be read, or with every problem of its graph.
    """
    return check_document(read_json(path), load_registry(settings.blocks), settings)


def check_document(document: Any, registry: BlockRegistry, settings: Settings) -> GraphFile:
    """Check what a graph file holds.

    Raises:
        InvalidError: With every problem of the graph.
    """
    document = _with_id(document)
    limits = Limits(nodes=settings.max_nodes, links=settings.max_links)
    return GraphFile(document, parse_graph(document, registry, limits))


def same_content(left: Graph, right: Graph) -> bool:
    """Tell whether two versions of a graph do the same; their numbers and the ids of their links do not count."""
    return _content(left) == _content(right)


def _content(graph: Graph) -> tuple[Any, ...]:
    nodes = sorted((node.id, node.block_name, node.input_default, node.metadata) for node in graph.nodes)
    links = sorted((k.source_id, k.source_name, k.sink_id, k.sink_name, k.is_static) for k in graph.links)
    return graph.name, graph.description, nodes, links


def _with_id(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    outer = cast("dict[str, Any]", document)
    inner = outer.get("graph", outer)
    if not isinstance(inner, dict):
        return outer
    graph = cast("dict[str, Any]", inner)
    if graph.get("id"):
        return outer
    digest = uuid.uuid5(_CONTENT_IDS, json.dumps(graph, sort_keys=True))
    return {**graph, "id": str(digest)}
