"""How the server is: 200 when all of it works, else 503 with the part that does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter, Request, Response

from autogpt_server.data.queue_depth import read_queue_depth
from autogpt_server.errors import Unavailable
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.principal import Scope
from autogpt_server.server.deps import ServicesDep
from autogpt_server.server.needs import PRINCIPAL_KEY, needs
from autogpt_server.server.process_health import find_problems, look_at_processes
from autogpt_server.server.services import Services
from autogpt_server.server.shapes import ExecutorsPart, Health, HealthStatus, Part
from autogpt_server.server.version import VERSION

router = APIRouter(tags=["health"])

#: Seconds after which a part that does not answer counts as away.
_PATIENCE = 3.0


@router.get("/health", responses={503: {"model": Health | HealthStatus, "description": "A part does not work"}})
@needs(None)
async def get_health(request: Request, services: ServicesDep, response: Response) -> Health | HealthStatus:
    """Look at every part of the server now.  Where a key is needed and none comes, only the status is told."""
    (database, ages), (engine, _), (_, depth), processes, write_error = await asyncio.gather(
        _look(services.executors.look(), f"{services.database.provider} answers", "the database"),
        _look(
            services.prisma.user.count(where={"id": DEFAULT_USER_ID}), "the query engine answers", "the query engine"
        ),
        _look(asyncio.to_thread(read_queue_depth, services.database), "the queue was counted", "the queue"),
        asyncio.to_thread(look_at_processes, services.settings),
        _write_error(services),
    )
    executors = _executors(services, database, ages or [])
    database = _database(database, write_error or next(iter(processes.unwritten), None))
    parts = (database, engine, executors)
    faults = processes.faults
    if services.submitter.is_draining:
        faults = ["this server is stopping and takes no new executions", *faults]
    is_well = not faults and all(part.status == "ok" for part in parts)
    problems = faults + find_problems(services.settings, parts, processes.parts, depth)
    response.status_code = 200 if is_well else 503
    response.headers["Cache-Control"] = "no-store"
    principal = request.scope.get(PRINCIPAL_KEY)
    if principal is None or not principal.may(Scope.READ):
        return HealthStatus(status="ok" if is_well else "unavailable")
    return Health(
        status="ok" if is_well else "unavailable",
        version=VERSION,
        uptime_seconds=round(time.monotonic() - services.started_at, 3),
        database=database,
        query_engine=engine,
        executors=executors,
        processes=processes.parts,
        problems=problems,
    )


async def _look(look: Awaitable[Any], well: str, name: str) -> tuple[Part, Any]:
    started = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await look
    except TimeoutError:
        detail = f"{name} did not answer within {_PATIENCE:g} s"
        return Part(status="unavailable", detail=detail, answer_seconds=_PATIENCE), None
    except Unavailable as error:
        return Part(status="unavailable", detail=str(error), answer_seconds=_since(started)), None
    return Part(status="ok", detail=well, answer_seconds=_since(started)), found


async def _write_error(services: Services) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE):
            error = await asyncio.to_thread(services.write_probe.error)
    except TimeoutError:
        error = services.database.write_error
    return None if error is None else f"the database takes no writes: {error}"


def _database(part: Part, write_error: str | None) -> Part:
    """The database as a part, which works only where it can be written, too."""
    if part.status != "ok" or write_error is None:
        return part
    return Part(status="unavailable", detail=write_error, answer_seconds=part.answer_seconds)


def _executors(services: Services, database: Part, ages: list[float]) -> ExecutorsPart:
    if database.status != "ok":
        detail = "their leases cannot be read"
    elif ages:
        detail = f"{len(ages)} executor processes work"
    else:
        detail = f"no executor process has given a sign of life for {services.settings.executor_lease_seconds:g} s"
    return ExecutorsPart(
        status="ok" if ages else "unavailable",
        detail=detail,
        answer_seconds=database.answer_seconds,
        alive=len(ages),
        oldest_beat_seconds=round(max(ages), 3) if ages else None,
    )


def _since(started: float) -> float:
    return round(time.monotonic() - started, 6)
