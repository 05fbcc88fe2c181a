"""Graphs: saving and reading them, their versions, and executing them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, cast

from fastapi import APIRouter, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from autogpt_server.data import graphs
from autogpt_server.data.graphs import GraphSummary
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.executor.submit import MAX_BATCH
from autogpt_server.model import check
from autogpt_server.model.graph import Graph
from autogpt_server.model.graph_import import ParsedGraph, parse_graph
from autogpt_server.model.ids import canonical_id
from autogpt_server.model.principal import Scope
from autogpt_server.server.bodies import InputsBody, JsonBody, ObjectBody, documented, parse_model
from autogpt_server.server.deps import (
    MAX_INT,
    Cursor,
    GraphId,
    IdempotencyKey,
    Limit,
    NewIds,
    Priority,
    ServicesDep,
    UserId,
    Version,
    VersionInPath,
)
from autogpt_server.server.needs import needs
from autogpt_server.server.services import Services
from autogpt_server.server.shapes import Accepted, AcceptedBatch, ExecutionShape, Listing, StoredGraph

router = APIRouter(prefix="/graphs", tags=["graphs"])

_GRAPH_BODY = documented(
    {
        "type": "object",
        "description": 'A graph, or `{"graph": {...}}`; exports of AutoGPT are read, too.',
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "name": {"type": "string"},
            "description": {"type": "string"},
            "nodes": {"type": "array", "items": {"type": "object"}},
            "links": {"type": "array", "items": {"type": "object"}},
        },
        "example": {
            "name": "hello",
            "nodes": [
                {
                    "id": "00000000-0000-4000-8000-000000000001",
                    "block_name": "PrintToConsoleBlock",
                    "input_default": {"text": "Hello"},
                }
            ],
            "links": [],
        },
    }
)


class ActiveVersion(BaseModel):
    """Which version of a graph is executed when none is named."""

    model_config = ConfigDict(extra="forbid")

    active_graph_version: Annotated[
        int,
        Field(ge=1, le=MAX_INT, strict=True, validation_alias=AliasChoices("active_graph_version", "version")),
    ]


class Batch(BaseModel):
    """Inputs of many executions."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[list[dict[str, Any]], Field(description=f"One object per execution, at most {MAX_BATCH:,}.")]


@router.get("")
async def list_graphs(
    services: ServicesDep, user_id: UserId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[GraphSummary]:
    """List the active versions of all graphs, the newest first."""
    page = await graphs.list_graphs(services.prisma, user_id, limit=limit, cursor=cursor)
    return Listing[GraphSummary].of(page)


@router.post("", status_code=201, openapi_extra=_GRAPH_BODY)
async def create_graph(
    services: ServicesDep, user_id: UserId, document: JsonBody, response: Response, new_ids: NewIds = False
) -> StoredGraph:
    """Save a graph; where its id is known already, as the next version, which becomes the active one.

    Graphs in `sub_graphs` are saved before it.
    """
    parsed = await _parse(services, document, new_ids)
    stored = await _store(services, user_id, parsed)
    response.headers["Location"] = f"/api/graphs/{stored.id}"
    return stored


@router.get("/{graph_id}")
async def get_graph(services: ServicesDep, user_id: UserId, graph_id: GraphId, version: Version = None) -> Graph:
    """Get a graph."""
    return await graphs.get_graph(services.prisma, user_id, graph_id, version)


@router.put("/{graph_id}", openapi_extra=_GRAPH_BODY)
async def update_graph(services: ServicesDep, user_id: UserId, graph_id: GraphId, document: ObjectBody) -> StoredGraph:
    """Save the next version of a graph, which becomes the active one."""
    await _check_exists(services, user_id, graph_id)
    parsed = await _parse(services, _with_id(document, graph_id), False)
    return await _store(services, user_id, parsed)


@router.delete("/{graph_id}", status_code=204)
async def delete_graph(services: ServicesDep, user_id: UserId, graph_id: GraphId) -> None:
    """Delete a graph with all its versions.  Its executions stay readable, and those that run go on."""
    await graphs.delete_graph(services.prisma, user_id, graph_id)


@router.get("/{graph_id}/versions")
async def list_versions(
    services: ServicesDep, user_id: UserId, graph_id: GraphId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[GraphSummary]:
    """List the versions of a graph, the newest first."""
    page = await graphs.list_versions(services.prisma, user_id, graph_id, limit=limit, cursor=cursor)
    return Listing[GraphSummary].of(page)


@router.get("/{graph_id}/versions/{version}")
async def get_version(services: ServicesDep, user_id: UserId, graph_id: GraphId, version: VersionInPath) -> Graph:
    """Get one version of a graph."""
    return await graphs.get_graph(services.prisma, user_id, graph_id, version)


@router.put("/{graph_id}/versions/active", openapi_extra=documented(ActiveVersion))
async def set_active_version(services: ServicesDep, user_id: UserId, graph_id: GraphId, document: ObjectBody) -> Graph:
    """Choose the version that is executed when none is named."""
    wanted = parse_model(ActiveVersion, document).active_graph_version
    return await graphs.set_active_version(services.prisma, user_id, graph_id, wanted)


@router.get("/{graph_id}/input_schema")
async def get_input_schema(
    services: ServicesDep, user_id: UserId, graph_id: GraphId, version: Version = None
) -> dict[str, Any]:
    """Get the JSON Schema of the inputs that executing the graph takes."""
    graph = await graphs.get_graph(services.prisma, user_id, graph_id, version)
    return check.input_schema(graph, services.registry)


@router.get("/{graph_id}/output_schema")
async def get_output_schema(
    services: ServicesDep, user_id: UserId, graph_id: GraphId, version: Version = None
) -> dict[str, Any]:
    """Get the JSON Schema of the outputs of its executions."""
    graph = await graphs.get_graph(services.prisma, user_id, graph_id, version)
    return check.output_schema(graph, services.registry)


@router.post("/{graph_id}/execute", status_code=202, openapi_extra=documented({"type": "object"}, required=False))
@needs(Scope.EXECUTE)
async def execute_graph(
    services: ServicesDep,
    user_id: UserId,
    graph_id: GraphId,
    inputs: InputsBody,
    response: Response,
    version: Version = None,
    priority: Priority = 0,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Execute a graph with the given inputs.  When this is answered, the execution is durable and will run."""
    execution_id, status = await services.submitter.submit(
        user_id, graph_id, inputs, version=version, idempotency_key=idempotency_key, priority=priority
    )
    response.headers["Location"] = f"/api/executions/{execution_id}"
    return Accepted(id=execution_id, status=status)


@router.post("/{graph_id}/execute/batch", status_code=202, openapi_extra=documented(Batch))
@needs(Scope.EXECUTE)
async def execute_batch(
    services: ServicesDep,
    user_id: UserId,
    graph_id: GraphId,
    document: ObjectBody,
    version: Version = None,
    priority: Priority = 0,
    idempotency_key: IdempotencyKey = None,
) -> AcceptedBatch:
    """Execute a graph many times: all of them are accepted, or none."""
    inputs = parse_model(Batch, document).inputs
    ids = await services.submitter.submit_batch(
        user_id, graph_id, inputs, version=version, idempotency_key=idempotency_key, priority=priority
    )
    return AcceptedBatch(ids=ids)


@router.get("/{graph_id}/executions")
async def list_graph_executions(
    services: ServicesDep, user_id: UserId, graph_id: GraphId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ExecutionShape]:
    """List the executions of a graph, the newest first."""
    page = await asyncio.to_thread(services.executions.list, user_id, graph_id, limit=limit, cursor=cursor)
    if not page.items and cursor is None:
        await _check_exists(services, user_id, graph_id)
    return Listing[ExecutionShape](
        items=[ExecutionShape.of(execution) for execution in page.items], next_cursor=page.next_cursor
    )


async def _check_exists(services: Services, user_id: str, graph_id: str) -> None:
    await graphs.list_versions(services.prisma, user_id, graph_id, limit=1)


async def _parse(services: Services, document: Any, new_ids: bool) -> ParsedGraph:
    # A large graph takes a second to check, in which others want answers.
    return await asyncio.to_thread(parse_graph, document, services.registry, services.limits, new_ids=new_ids)


async def _store(services: Services, user_id: str, parsed: ParsedGraph) -> StoredGraph:
    for sub_graph in parsed.sub_graphs:
        await graphs.create_graph(services.prisma, user_id, sub_graph)
    stored = await graphs.create_graph(services.prisma, user_id, parsed.graph)
    return StoredGraph.of(stored, parsed.warnings)


def _with_id(document: dict[str, Any], graph_id: str) -> dict[str, Any]:
    """Give a document the id of its address; one that names another id is refused."""
    inner = document.get("graph")
    if isinstance(inner, dict) and "nodes" not in document:
        graph, place = cast(dict[str, Any], inner), "graph.id"
    else:
        graph, place = document, "id"
    given = graph.get("id")
    if given is not None and canonical_id(str(given)) != graph_id:
        problem = Problem(place, f"differs from the id in the address, {graph_id}", "leave it out, or POST the graph")
        raise InvalidError("The graph was refused.", [problem])
    graph = {**graph, "id": graph_id}
    return {**document, "graph": graph} if place == "graph.id" else graph
