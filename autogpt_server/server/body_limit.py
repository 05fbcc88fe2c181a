"""Refuses request bodies above the limit: by their announced length at once, else as soon as they pass it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autogpt_server.server.problems import TOO_LARGE, problem_response

#: Where bodies are files.
_FILES = "/api/files"


class BodyLimit:
    """ASGI middleware; never holds more of a body than the application asked for.

    Args:
        app: Behind it.
        max_bytes: Of a body.
        max_file_bytes: Of one that is a file.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_file_bytes: int) -> None:
        self._app, self._max_bytes, self._max_file_bytes = app, max_bytes, max_file_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_file = scope["path"] == _FILES and scope["method"] == "POST"
        limit = self._max_file_bytes if is_file else self._max_bytes
        announced = Headers(scope=scope).get("content-length", "0")
        # The connection stays open: the server drops the rest, and the client, done sending, reads the answer.
        if not announced.isdecimal() or int(announced[:20]) > limit:
            await problem_response(TOO_LARGE, _message(limit))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(TOO_LARGE.status, _message(limit))
            return message

        await self._app(scope, counted, send)


def _message(limit: int) -> str:
    return f"The body is larger than {limit:,} bytes, the limit of this server."
