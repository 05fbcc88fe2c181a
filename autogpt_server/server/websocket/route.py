"""The route of ``WS /ws``."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.websockets import WebSocket

from autogpt_server.server.deps import services_of, user_of
from autogpt_server.server.websocket.connection import Connection

router = APIRouter()


@router.websocket("/ws")
async def follow_executions(socket: WebSocket) -> None:
    """Follow executions; see docs/events.md."""
    app = socket.app
    await Connection(socket, services_of(app), user_of(socket.scope), app.state.stopping).serve()
