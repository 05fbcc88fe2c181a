"""The REST application: routes below ``/api``, Swagger UI, and what stands before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from starlette.responses import RedirectResponse

from autogpt_server.accounts.verifier import Verifier
from autogpt_server.server.api import (
    accounts,
    blocks,
    credentials,
    executions,
    files,
    graphs,
    health,
    metrics,
    monitoring,
    notifications,
    schedules,
    system,
)
from autogpt_server.server.body_limit import BodyLimit
from autogpt_server.server.doorkeeper import Doorkeeper
from autogpt_server.server.gate import Gate
from autogpt_server.server.known_parameters import refuse_unknown_parameters
from autogpt_server.server.needs import check_scope
from autogpt_server.server.openapi import PROBLEMS, describe
from autogpt_server.server.problems import LastResort, add_handlers
from autogpt_server.server.quick_lane.application import Application
from autogpt_server.server.services import open_services
from autogpt_server.server.swagger import add_swagger
from autogpt_server.server.version import VERSION
from autogpt_server.server.websocket import route as websocket
from autogpt_server.service.listen import is_loopback
from autogpt_server.settings import Settings

#: Before every handler.
_CHECKS = [Depends(check_scope), Depends(refuse_unknown_parameters)]


def create_app(settings: Settings) -> FastAPI:
    """Make the application.  Its lifespan opens and closes everything it works with.

    ``app.state.stopping`` is an event; setting it on the loop ends what would go on for long, event streams above all.
    """
    stopping = asyncio.Event()
    is_reachable = not is_loopback(settings.host)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_services(settings, stopping) as services:
            app.state.services = services
            app.state.gate = Gate(Verifier(services.database, is_always_needed=is_reachable))
            yield
            stopping.set()

    app = Application(
        title="AutoGPT server",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.stopping, app.state.own_host = stopping, settings.host.lower()
    app.state.is_reachable = is_reachable
    add_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, max_file_bytes=settings.max_upload_bytes)
    # Beyond loopback it has names that nobody told it, and every request needs a key.
    app.add_middleware(Doorkeeper, host=None if is_reachable else settings.host)
    app.add_middleware(LastResort)

    api = APIRouter(prefix="/api", responses=PROBLEMS, dependencies=_CHECKS)
    for part in (
        blocks,
        graphs,
        executions,
        schedules,
        monitoring,
        notifications,
        files,
        credentials,
        system,
        accounts,
        health,
        metrics,
    ):
        api.include_router(part.router)
    app.include_router(api)
    app.include_router(websocket.router)
    app.include_router(websocket.router, prefix="/api")
    # Where Prometheus looks by default, too.
    app.add_api_route("/metrics", metrics.get_metrics, include_in_schema=False, dependencies=[Depends(check_scope)])
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False)
    add_swagger(app)
    describe(app)
    return app
