"""Counts HTTP requests by route, status and time, around everything else, so that no answer escapes."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autogpt_server.server.quick_lane.application import ROUTE_KEY
from autogpt_server.server.submission_spans import SubmissionSpans
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import HTTP_SECONDS

#: Route of what no route answers: the paths that strangers try must not become labels.
_NO_ROUTE = "none"


class CountedRequests:
    """ASGI application around another one."""

    def __init__(self, app: ASGIApp, submissions: SubmissionSpans | None = None) -> None:
        self._app, self._submissions = app, submissions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - began
                counting.observe(HTTP_SECONDS, (seconds,), _method(scope), _route(scope), str(message["status"]))
                if self._submissions is not None:
                    self._submissions.note(scope, message, _route(scope), seconds)
            await send(message)

        await self._app(scope, receive, counted)


def _route(scope: Scope) -> str:
    # A route knows its path below its router only; the framework notes beside it where that was included.
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    if route is not None:
        return str(route.path)
    return scope.get(ROUTE_KEY, _NO_ROUTE)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
