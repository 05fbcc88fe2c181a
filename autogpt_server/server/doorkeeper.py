"""Keeps other sites' pages out of a server that asks for no key, and characters out that no database stores.

A page from anywhere may send requests to this machine.  What tells them apart is the ``Origin`` that browsers add,
and the ``Host`` when a foreign name was made to point here.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from autogpt_server.errors import Problem
from autogpt_server.server.problems import FORBIDDEN, INVALID, problem_response
from autogpt_server.service.listen import names_this_machine


class Doorkeeper:
    """ASGI middleware that lets requests of this machine in, and no page of another site.

    Args:
        app: Behind the door.
        host: Under which the server listens; it counts as a name of this machine.  None lets requests in under any
            name, where each needs a key.
    """

    def __init__(self, app: ASGIApp, host: str | None) -> None:
        self._app, self._own_host = app, None if host is None else host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        refusal = None
        if self._own_host is not None and not names_this_machine(host, self._own_host):
            detail = "The Host header does not name this machine; use http://localhost or http://127.0.0.1."
            refusal = problem_response(FORBIDDEN, detail)
        elif origin is not None and not _is_same_site(origin, host):
            refusal = problem_response(FORBIDDEN, "Requests from pages of other sites are not answered.")
        elif place := _unstorable(scope):
            problem = Problem(place, "holds a NUL character", "remove it")
            refusal = problem_response(INVALID, "The request was refused.", [problem])
        if refusal is not None and scope["type"] == "websocket":
            # Closed before it was accepted: the server answers 403.
            await send({"type": "websocket.close"})
            return
        await (refusal or self._app)(scope, receive, send)


def _is_same_site(origin: str, host: str) -> bool:
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _unstorable(scope: Scope) -> str | None:
    """Name the part of the address that holds a NUL, escaped or not."""
    if "\0" in scope["path"]:
        return "path"
    query = scope["query_string"].decode("latin-1")
    if "\0" in query or "%00" in query:
        for name, value in parse_qsl(query, keep_blank_values=True):
            if "\0" in name or "\0" in value:
                return name.replace("\0", "\ufffd")
    return None
