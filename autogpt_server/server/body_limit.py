"""Refuses request bodies above the limit: by their announced length at once, else as soon as they pass it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autogpt_server.server.problems import TOO_LARGE, problem_response


class BodyLimit:
    """ASGI middleware; never holds more of a body than the application asked for."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        # The connection stays open: the server drops the rest, and the client, done sending, reads the answer.
        if not announced.isdecimal() or int(announced[:20]) > self._max_bytes:
            await problem_response(TOO_LARGE, self._message())(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise HTTPException(TOO_LARGE.status, self._message())
            return message

        await self._app(scope, counted, send)

    def _message(self) -> str:
        return f"The body is larger than {self._max_bytes:,} bytes, the limit of this server."
