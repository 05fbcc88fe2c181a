"""The tasks that the server does by itself: what they are, how they went, and running one now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import next_run_of
from autogpt_server.data.task_runs import TaskRuns
from autogpt_server.errors import TaskNotFound, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.principal import Scope
from autogpt_server.scheduler.client import SchedulerClient
from autogpt_server.scheduler.system_tasks import (
    BLOCK_ERROR_RATES,
    EXPIRED_FILES,
    HISTORY,
    LATE_EXECUTIONS,
    STORED_IDS,
    WEEKLY_SUMMARY,
    SystemTask,
    system_tasks,
)
from autogpt_server.server.deps import Cursor, Limit, ServicesDep
from autogpt_server.server.monitoring_shapes import SystemTaskShape, TaskRunShape
from autogpt_server.server.needs import needs
from autogpt_server.server.shapes import Listing

router = APIRouter(prefix="/system/tasks", tags=["system"])

TaskId = Annotated[str, Path(max_length=191, description="As `GET /system/tasks` lists it.")]

_DESCRIPTIONS = {
    WEEKLY_SUMMARY: "Queues the weekly summaries of those whose week is over.",
    LATE_EXECUTIONS: "Reports executions that wait for too long, and schedules that fall behind.",
    BLOCK_ERROR_RATES: "Reports blocks that fail too often.",
    EXPIRED_FILES: "Removes files whose time is over.",
    HISTORY: "Deletes executions and slots that are older than they are to be kept.",
}


@router.get("")
@needs(Scope.ADMIN)
async def list_tasks(services: ServicesDep) -> Listing[SystemTaskShape]:
    """List the tasks with the run that comes next and the one that was last."""
    tasks = system_tasks(services.settings)
    items = await asyncio.to_thread(lambda: [_shape(services.database, task) for task in tasks])
    return Listing[SystemTaskShape](items=items, next_cursor=None)


@router.get("/{task_id}/runs")
@needs(Scope.ADMIN)
async def list_task_runs(
    services: ServicesDep, task_id: TaskId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[TaskRunShape]:
    """List the runs of a task, the latest first, with their results and durations."""
    _check(task_id)
    runs = TaskRuns(services.database)
    page = await asyncio.to_thread(runs.list, task_id, limit=limit, cursor=cursor)
    return Listing[TaskRunShape](items=[TaskRunShape.of(run) for run in page.items], next_cursor=page.next_cursor)


@router.post("/{task_id}/run")
@needs(Scope.ADMIN)
async def run_task(services: ServicesDep, task_id: TaskId) -> TaskRunShape:
    """Have the scheduler do a task now, and answer when it is done."""
    _check(task_id)
    if not services.settings.execution_scheduler_port:
        raise Unavailable("the scheduler's port is not known: set EXECUTION_SCHEDULER_PORT to one of your choice")
    client = SchedulerClient(services.settings)
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        WEEKLY_SUMMARY: client.execute_process_weekly_summary,
        LATE_EXECUTIONS: client.execute_report_late_executions,
        BLOCK_ERROR_RATES: client.execute_report_block_error_rates,
        EXPIRED_FILES: client.execute_cleanup_expired_files,
        HISTORY: client.execute_prune_history,
    }
    try:
        await calls[task_id]()
    finally:
        await client.close()
    page = await asyncio.to_thread(TaskRuns(services.database).list, task_id, limit=1)
    if not page.items:
        raise Unavailable(f"nothing does {task_id} on this server")
    return TaskRunShape.of(page.items[0])


def _check(task_id: str) -> None:
    if task_id not in _DESCRIPTIONS:
        raise TaskNotFound(task_id)


def _shape(database: Database, task: SystemTask) -> SystemTaskShape:
    runs = TaskRuns(database).list(task.id, limit=1).items
    return SystemTaskShape(
        id=task.id,
        description=_DESCRIPTIONS[task.id],
        next_run_at=_next_run(database, task),
        last_run=TaskRunShape.of(runs[0]) if runs else None,
    )


def _next_run(database: Database, task: SystemTask) -> datetime | None:
    if task.id not in STORED_IDS:
        # Kept in the scheduler's memory; its trigger says the same.
        return task.trigger.get_next_fire_time(None, clock.now())
    with database.read() as c:
        return next_run_of(database, c, task.id)
