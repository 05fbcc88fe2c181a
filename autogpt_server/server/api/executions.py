"""Executions: reading them, stopping, pausing and running them again, following their events."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from autogpt_server.executor.rerun import RerunRequest
from autogpt_server.model.ids import canonical_id
from autogpt_server.model.principal import Scope
from autogpt_server.server import event_stream
from autogpt_server.server.bodies import InputsBody, documented, parse_model
from autogpt_server.server.deps import (
    MAX_INT,
    Cursor,
    ExecutionId,
    IdempotencyKey,
    Limit,
    RerunPriority,
    ServicesDep,
    UserId,
)
from autogpt_server.server.events import BEGINNING
from autogpt_server.server.needs import needs
from autogpt_server.server.shapes import Accepted, ExecutionDetails, ExecutionShape, Listing, NodeExecutionShape

router = APIRouter(prefix="/executions", tags=["executions"])

Revision = Annotated[int | None, Query(ge=0, le=MAX_INT, description="Only what changed after this sequence.")]
LastEventId = Annotated[int | None, Header(ge=0, le=MAX_INT, description="The same, as browsers send it.")]


class Rerun(BaseModel):
    """What is to be different this time."""

    model_config = ConfigDict(extra="forbid")

    from_node_id: Annotated[str, AfterValidator(canonical_id)] | None = Field(
        default=None, description="Runs again, with everything that it leads to."
    )
    inputs: dict[str, Any] | None = Field(default=None, description="By default those of the execution.")
    graph_version: Annotated[int, Field(ge=1, le=MAX_INT, strict=True)] | None = Field(
        default=None, description="By default that of the execution."
    )


@router.get("")
async def list_executions(
    services: ServicesDep, user_id: UserId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ExecutionShape]:
    """List the executions of all graphs, the newest first."""
    page = await asyncio.to_thread(services.executions.list, user_id, None, limit=limit, cursor=cursor)
    return Listing[ExecutionShape](
        items=[ExecutionShape.of(execution) for execution in page.items], next_cursor=page.next_cursor
    )


@router.get("/{execution_id}")
async def get_execution(
    services: ServicesDep, user_id: UserId, execution_id: ExecutionId, limit: Limit = 100, cursor: Cursor = None
) -> ExecutionDetails:
    """Get an execution, and a page of its node executions in the order in which they ended."""
    # In this order: with a final status come all of its nodes.
    execution = await asyncio.to_thread(services.executions.get, user_id, execution_id)
    page = await asyncio.to_thread(services.executions.node_executions, execution_id, limit=limit, cursor=cursor)
    names = await services.block_names.of(execution.graph_id, execution.graph_version)
    nodes = [NodeExecutionShape.of(node, names) for node in page.items]
    return ExecutionDetails.of(
        execution, node_executions=Listing[NodeExecutionShape](items=nodes, next_cursor=page.next_cursor)
    )


@router.post("/{execution_id}/stop")
@needs(Scope.EXECUTE)
async def stop_execution(services: ServicesDep, user_id: UserId, execution_id: ExecutionId) -> ExecutionShape:
    """Ask an execution to stop.  One that runs ends a moment later; one that has ended stays as it is."""
    return ExecutionShape.of(await services.submitter.stop(user_id, execution_id))


@router.post("/{execution_id}/pause")
@needs(Scope.EXECUTE)
async def pause_execution(services: ServicesDep, user_id: UserId, execution_id: ExecutionId) -> ExecutionShape:
    """Ask an execution, and those that it started, to pause.

    One that waits is PAUSED at once.  One that runs starts no new nodes, and is PAUSED when its running ones have
    ended.  One that is paused stays as it is.
    """
    return ExecutionShape.of(await services.submitter.pause(user_id, execution_id))


@router.post("/{execution_id}/resume")
@needs(Scope.EXECUTE)
async def resume_execution(services: ServicesDep, user_id: UserId, execution_id: ExecutionId) -> ExecutionShape:
    """Let a paused execution, and those that it started, go on, in its old place.  Any other stays as it is."""
    return ExecutionShape.of(await services.submitter.resume(user_id, execution_id))


@router.post("/{execution_id}/rerun", status_code=202, openapi_extra=documented(Rerun, required=False))
@needs(Scope.EXECUTE)
async def rerun_execution(
    services: ServicesDep,
    user_id: UserId,
    execution_id: ExecutionId,
    document: InputsBody,
    response: Response,
    priority: RerunPriority = None,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Run an execution that has ended again, keeping what it recorded as far as that still holds.

    With `from_node_id` that node runs again and everything that its outputs lead to; all else is kept, and it is an
    error where that does not fit.  Without, what failed, never ended or has other inputs now runs again.  Kept node
    executions have attempt 0.
    """
    wanted = parse_model(Rerun, document)
    request = RerunRequest(**dict(wanted), priority=priority, idempotency_key=idempotency_key)
    accepted_id, status = await services.reruns.rerun(user_id, execution_id, request)
    response.headers["Location"] = f"/api/executions/{accepted_id}"
    return Accepted(id=accepted_id, status=status)


@router.get(
    "/{execution_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "It has ended, and the client has seen that"},
    },
)
async def follow_execution(
    services: ServicesDep,
    user_id: UserId,
    execution_id: ExecutionId,
    after: Revision = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow what happens in an execution, until it has ended.

    Every event is `{sequence, type, execution}`, where `type` is `graph_execution` or `node_execution`; or, of what a
    streaming block yields while it runs, `{sequence, type, output}` with the `type` `node_output`.
    A client that does not accept events within 30 s is cut off, and may come back with its position.
    """
    seen = last_event_id if last_event_id is not None else after if after is not None else BEGINNING
    return await event_stream.follow(services.events, user_id, execution_id, seen)
