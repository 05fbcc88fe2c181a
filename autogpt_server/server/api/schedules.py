"""Schedules: making, changing and trying them, and what became of their due times."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AfterValidator

from autogpt_server.errors import InvalidError
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import canonical_id
from autogpt_server.model.principal import Scope
from autogpt_server.scheduler.backfill import Range
from autogpt_server.scheduler.cron import parse_cron
from autogpt_server.scheduler.parked import find_parked, remove_parked
from autogpt_server.scheduler.preview import preview
from autogpt_server.scheduler.schedule_checks import check_moment
from autogpt_server.scheduler.scheduling import NewSchedule
from autogpt_server.scheduler.zones import parse_zone
from autogpt_server.server.bodies import InputsBody, ObjectBody, documented, parse_model, refuse_fields
from autogpt_server.server.deps import Cursor, GraphId, Limit, ServicesDep, UserId
from autogpt_server.server.needs import needs
from autogpt_server.server.schedule_shapes import (
    BackfillBody,
    BackfillPreviewShape,
    BackfillShape,
    NewScheduleBody,
    ParkedShape,
    Pause,
    PreviewBody,
    PreviewShape,
    ScheduleChanges,
    ScheduleShape,
    SlotShape,
)
from autogpt_server.server.services import Services
from autogpt_server.server.shapes import Accepted, Listing

router = APIRouter(tags=["schedules"])

# Not only UUIDs: other deployments name theirs otherwise.
ScheduleId = Annotated[str, Path(max_length=191), AfterValidator(canonical_id)]
JobId = Annotated[str, Path(max_length=191, description="As `GET /schedules/parked` lists it.")]
Table = Annotated[
    Literal["apscheduler_jobs", "apscheduler_jobs_batched_notifications"], Query(description="In which it is listed.")
]
IsEnabled = Annotated[bool | None, Query(description="Only those that are not paused, or only those that are.")]
OfGraph = Annotated[
    str | None, Query(description="Only those of this graph."), AfterValidator(lambda t: t and canonical_id(t))
]


@router.get("/graphs/{graph_id}/schedules")
async def list_graph_schedules(
    services: ServicesDep,
    user_id: UserId,
    graph_id: GraphId,
    is_enabled: IsEnabled = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ScheduleShape]:
    """List the schedules of a graph, the newest first."""
    return await _list(services, user_id, graph_id, is_enabled, limit, cursor)


@router.post("/graphs/{graph_id}/schedules", status_code=201, openapi_extra=documented(NewScheduleBody))
async def create_schedule(
    services: ServicesDep, user_id: UserId, graph_id: GraphId, document: ObjectBody, response: Response
) -> ScheduleShape:
    """Schedule a graph: by `cron` in a time zone, once at `run_at`, or every `interval_seconds`."""
    wanted = parse_model(NewScheduleBody, document)
    new = NewSchedule(graph_id=graph_id, **wanted.given())
    schedule = await asyncio.to_thread(services.scheduling.create, user_id, new)
    response.headers["Location"] = f"/api/schedules/{schedule.id}"
    return ScheduleShape.of(schedule)


@router.get("/schedules")
async def list_schedules(
    services: ServicesDep,
    user_id: UserId,
    graph_id: OfGraph = None,
    is_enabled: IsEnabled = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ScheduleShape]:
    """List your schedules, the newest first."""
    return await _list(services, user_id, graph_id, is_enabled, limit, cursor)


@router.get("/schedules/parked")
@needs(Scope.ADMIN)
async def list_parked(services: ServicesDep) -> list[ParkedShape]:
    """List job rows that others have written and that cannot be restored: they are neither run nor deleted."""
    parked = await asyncio.to_thread(find_parked, services.database)
    return [ParkedShape(table=one.table, id=one.id, reason=one.reason) for one in parked]


@router.delete("/schedules/parked/{job_id:path}", status_code=204)
@needs(Scope.ADMIN)
async def delete_parked(services: ServicesDep, job_id: JobId, table: Table = "apscheduler_jobs") -> Response:
    """Delete a job row that cannot be restored, for good; what it stood for is made anew where that is known."""
    await asyncio.to_thread(remove_parked, services.database, table, job_id)
    return Response(status_code=204)


@router.post("/schedules/preview", openapi_extra=documented(PreviewBody))
@needs(Scope.READ)
async def preview_schedule(document: ObjectBody) -> PreviewShape:
    """Tell in words when a cron expression comes, and its next times, without storing anything."""
    wanted = parse_model(PreviewBody, document)
    expression, zone = parse_cron(wanted.cron), parse_zone(wanted.timezone)
    after = wanted.after or clock.now()
    if problems := list(check_moment("after", after)):
        raise InvalidError("The preview was refused.", problems)
    return PreviewShape.of(await asyncio.to_thread(preview, expression, zone, after, wanted.count))


@router.get("/schedules/{schedule_id}")
async def get_schedule(services: ServicesDep, user_id: UserId, schedule_id: ScheduleId) -> ScheduleShape:
    """Get a schedule."""
    return ScheduleShape.of(await asyncio.to_thread(services.scheduling.get, user_id, schedule_id))


@router.patch("/schedules/{schedule_id}", openapi_extra=documented(ScheduleChanges))
async def change_schedule(
    services: ServicesDep, user_id: UserId, schedule_id: ScheduleId, document: ObjectBody
) -> ScheduleShape:
    """Change a schedule; what is left out stays.  A new time is counted from now on."""
    changes = parse_model(ScheduleChanges, document).given()
    is_enabled = changes.pop("is_enabled", None)
    scheduling = services.scheduling
    if changes:
        schedule = await asyncio.to_thread(scheduling.edit, user_id, schedule_id, changes, is_enabled=is_enabled)
    elif is_enabled is None:
        schedule = await asyncio.to_thread(scheduling.get, user_id, schedule_id)
    else:
        change = scheduling.resume if is_enabled else scheduling.pause
        schedule = await asyncio.to_thread(change, user_id, schedule_id)
    return ScheduleShape.of(schedule)


@router.delete("/schedules/{schedule_id}", status_code=204)
async def delete_schedule(services: ServicesDep, user_id: UserId, schedule_id: ScheduleId) -> Response:
    """Delete a schedule for good.  Its executions stay."""
    await asyncio.to_thread(services.scheduling.delete, user_id, schedule_id)
    return Response(status_code=204)


@router.post("/schedules/{schedule_id}/pause", openapi_extra=documented(Pause, required=False))
async def pause_schedule(
    services: ServicesDep, user_id: UserId, schedule_id: ScheduleId, document: InputsBody
) -> ScheduleShape:
    """Let a schedule run no more until it is resumed."""
    wanted = parse_model(Pause, document)
    paused = await asyncio.to_thread(
        services.scheduling.pause, user_id, schedule_id, by=wanted.by or user_id, reason=wanted.reason
    )
    return ScheduleShape.of(paused)


@router.post("/schedules/{schedule_id}/resume", dependencies=[Depends(refuse_fields)])
async def resume_schedule(services: ServicesDep, user_id: UserId, schedule_id: ScheduleId) -> ScheduleShape:
    """Let a paused schedule run again, from its next time on: those of the pause are not made up for."""
    return ScheduleShape.of(await asyncio.to_thread(services.scheduling.resume, user_id, schedule_id))


@router.post("/schedules/{schedule_id}/run-now", status_code=202, dependencies=[Depends(refuse_fields)])
@needs(Scope.EXECUTE)
async def run_schedule_now(
    services: ServicesDep, user_id: UserId, schedule_id: ScheduleId, response: Response
) -> Accepted:
    """Execute the schedule's graph with its inputs, now and beside its times."""
    execution_id = await asyncio.to_thread(services.scheduling.run_now, user_id, schedule_id)
    services.submitter.nudge()
    response.headers["Location"] = f"/api/executions/{execution_id}"
    return Accepted(id=execution_id, status=ExecutionStatus.QUEUED)


@router.get("/schedules/{schedule_id}/slots")
async def list_slots(
    services: ServicesDep, user_id: UserId, schedule_id: ScheduleId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[SlotShape]:
    """List what became of each time at which the schedule was due, the latest first."""
    page = await asyncio.to_thread(services.scheduling.slots, user_id, schedule_id, limit=limit, cursor=cursor)
    return Listing[SlotShape](items=[SlotShape.of(slot) for slot in page.items], next_cursor=page.next_cursor)


@router.post("/schedules/{schedule_id}/backfill/preview", openapi_extra=documented(BackfillBody))
@needs(Scope.READ)
async def preview_backfill(
    services: ServicesDep, user_id: UserId, schedule_id: ScheduleId, document: ObjectBody
) -> BackfillPreviewShape:
    """Tell what a backfill would run, without running it."""
    wanted = parse_model(BackfillBody, document)
    found = await asyncio.to_thread(services.backfills.preview, user_id, schedule_id, _range(wanted))
    return BackfillPreviewShape(slots=found.slots, to_run=len(found.missing), first=found.first, last=found.last)


@router.post("/schedules/{schedule_id}/backfill", status_code=202, openapi_extra=documented(BackfillBody))
@needs(Scope.EXECUTE)
async def backfill(
    services: ServicesDep, user_id: UserId, schedule_id: ScheduleId, document: ObjectBody
) -> BackfillShape:
    """Execute what the schedule would have run in a range of the past, as far as it has no execution there.

    Harmless when repeated: each time has one execution at most.
    """
    wanted = parse_model(BackfillBody, document)
    ids = await asyncio.to_thread(services.backfills.run, user_id, schedule_id, _range(wanted), wanted.max_concurrent)
    services.submitter.nudge()
    return BackfillShape(ids=ids)


def _range(wanted: BackfillBody) -> Range:
    return Range(wanted.first, wanted.last)


async def _list(
    services: Services, user_id: str, graph_id: str | None, is_enabled: bool | None, limit: int, cursor: str | None
) -> Listing[ScheduleShape]:
    page = await asyncio.to_thread(services.scheduling.list, user_id, graph_id, is_enabled, limit=limit, cursor=cursor)
    return Listing[ScheduleShape](items=[ScheduleShape.of(one) for one in page.items], next_cursor=page.next_cursor)
