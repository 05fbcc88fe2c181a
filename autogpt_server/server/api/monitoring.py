"""What is wrong, and why something does not run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from autogpt_server.data.alerts import Alerts
from autogpt_server.data.block_counts import read_block_stats
from autogpt_server.data.database import Database
from autogpt_server.data.firing_targets import find_targets
from autogpt_server.data.slots import Slots
from autogpt_server.data.waits import read_wait, unfinished_of_schedule
from autogpt_server.model import clock
from autogpt_server.model.principal import Scope
from autogpt_server.model.schedule import Schedule
from autogpt_server.monitoring.why import (
    ScheduleSurroundings,
    Surroundings,
    why_execution,
    why_schedule,
)
from autogpt_server.scheduler.parked import parked_reason
from autogpt_server.scheduler.timetable import due_at
from autogpt_server.server.api.schedules import ScheduleId
from autogpt_server.server.deps import CurrentPrincipal, Cursor, ExecutionId, Limit, ServicesDep, UserId
from autogpt_server.server.monitoring_shapes import (
    AlertShape,
    BlockStatsList,
    BlockStatsShape,
    ReasonShape,
    WhyExecution,
    WhySchedule,
)
from autogpt_server.server.shapes import Listing

router = APIRouter(tags=["monitoring"])

OnlyOpen = Annotated[bool, Query(description="Leave out what has recovered.")]
# Counts are kept for 35 days.
Hours = Annotated[int, Query(ge=1, le=35 * 24, description="How far back, in whole hours.")]


@router.get("/executions/{execution_id}/why")
async def get_why_execution(services: ServicesDep, user_id: UserId, execution_id: ExecutionId) -> WhyExecution:
    """Tell what an execution waits for: its turn, a limit, a pause, an executor, a node, another execution."""
    wait = await asyncio.to_thread(read_wait, services.database, user_id, execution_id)
    executors = await services.executors.look()
    around = Surroundings(len(executors), services.settings.max_concurrent_per_user, clock.now())
    reasons = [ReasonShape.of(one) for one in why_execution(wait, around)]
    return WhyExecution(id=execution_id, status=wait.status, reasons=reasons)


@router.get("/schedules/{schedule_id}/why")
async def get_why_schedule(services: ServicesDep, user_id: UserId, schedule_id: ScheduleId) -> WhySchedule:
    """Tell what a schedule waits for: a pause, its next time, the end of an execution, a scheduler."""
    schedule = await asyncio.to_thread(services.scheduling.get, user_id, schedule_id)
    around = await asyncio.to_thread(_look_around, services.database, schedule)
    reasons = [ReasonShape.of(one) for one in why_schedule(schedule, around)]
    return WhySchedule(id=schedule_id, is_enabled=schedule.is_enabled, reasons=reasons)


@router.get("/alerts")
async def list_alerts(
    services: ServicesDep,
    principal: CurrentPrincipal,
    only_open: OnlyOpen = True,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[AlertShape]:
    """List what is wrong: late executions, blocks that fail too often, schedules that fall behind; newest first.

    What concerns the server is listed for whoever may manage it.
    """
    page = await asyncio.to_thread(
        Alerts(services.database).list,
        principal.user_id,
        with_servers=principal.may(Scope.ADMIN),
        only_open=only_open,
        limit=limit,
        cursor=cursor,
    )
    items = [AlertShape.of(alert) for alert in page.items]
    return Listing[AlertShape](items=items, next_cursor=page.next_cursor)


@router.get("/block-stats")
async def get_block_stats(services: ServicesDep, hours: Hours = 24) -> BlockStatsList:
    """Count how the node executions of each block ended lately, those of all users together."""
    since = clock.now() - timedelta(hours=hours)
    stats = await asyncio.to_thread(read_block_stats, services.database, since)
    return BlockStatsList(since=since, items=[BlockStatsShape.of(one) for one in stats])


def _look_around(database: Database, schedule: Schedule) -> ScheduleSurroundings:
    with database.read() as c:
        has_graph = bool(find_targets(database, c, [schedule]))
    last = Slots(database).list(schedule.id, limit=1).items
    return ScheduleSurroundings(
        has_graph=has_graph,
        unfinished=unfinished_of_schedule(database, schedule.id),
        last=last[0] if last else None,
        parked=parked_reason(database, schedule.id),
        due_at=None if schedule.next_run_at is None else due_at(schedule, schedule.next_run_at),
        now=clock.now(),
    )
