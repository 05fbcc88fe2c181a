"""Lets requests in whose sender is known, and ends what goes on for long once its key is good no more."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from autogpt_server.accounts.verifier import Verifier
from autogpt_server.errors import NotAuthenticated
from autogpt_server.model.principal import Principal, Scope
from autogpt_server.server.needs import PRINCIPAL_KEY, check_allowed, principal_of

#: Where a provider sends a browser back to; what it brings along belongs to a login that somebody began with a key.
_CALLBACK = "/api/credentials/oauth/callback"
#: Paths that need no key: what a browser needs for the page of the interface, and what looks at its sender by itself.
_OPEN = frozenset({"/", "/docs", "/openapi.json", "/favicon.ico", "/api/keys/claim", _CALLBACK})
_OPEN_PREFIX = "/docs/"
#: A file, by a link that is signed.
_SIGNED = re.compile(r"/api/files/[^/]+/content")
#: Answers without a key, too, but says less.
_HEALTH = "/api/health"
#: Seconds between two looks at the key of a connection that stays open.
_LOOK_SECONDS = 2.0
#: Close code of RFC 6455, section 7.4: the connection breaks a rule of the server.
_POLICY = 1008
_BEARER = "bearer "

Go = Callable[[AsgiScope, Receive, Send], Awaitable[None]]


class Gate:
    """Notes the principal of each request in its scope.

    Args:
        verifier: Knows the keys.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def admit(self, scope: AsgiScope) -> str | None:
        """Note who sends a request; returns the key that came with it.

        Raises:
            NotAuthenticated: It needs a key, or the one that it has is not good.
        """
        path: str = scope["path"]
        if path in _OPEN or path.startswith(_OPEN_PREFIX):
            return None
        if _SIGNED.fullmatch(path) and b"signature=" in scope["query_string"]:
            return None
        text = _key_of(scope)
        try:
            scope[PRINCIPAL_KEY] = await self._look(text)
        except NotAuthenticated:
            if path != _HEALTH:
                raise
        if scope["type"] == "websocket":
            check_allowed(principal_of(scope), Scope.READ)
        return text

    async def watch(self, text: str, scope: AsgiScope, receive: Receive, send: Send, go: Go) -> None:
        """Serve a connection that stays open, and end it when its key is good no more."""
        serving = asyncio.ensure_future(go(scope, receive, send))
        watching = asyncio.ensure_future(self._until_bad(text))
        try:
            await asyncio.wait((serving, watching), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            elif scope["type"] == "websocket":
                with contextlib.suppress(RuntimeError):  # it has gone at the same moment
                    await send({"type": "websocket.close", "code": _POLICY, "reason": "the key is good no more"})
        finally:
            for task in (serving, watching):
                task.cancel()
            await asyncio.gather(serving, watching, return_exceptions=True)

    async def _look(self, text: str | None) -> Principal:
        if text is None:
            return await self._verifier.anonymous()
        return self._verifier.remembered(text) or await self._verifier.principal(text)

    async def _until_bad(self, text: str) -> None:
        with contextlib.suppress(NotAuthenticated):
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                await self._verifier.principal(text)


def _key_of(scope: AsgiScope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            text = value.decode("latin-1").strip()
            # Whatever else is sent is no key of ours, and is refused as one.
            return text[len(_BEARER) :].strip() if text.lower().startswith(_BEARER) else text
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
    if scope["type"] == "websocket" and b"token=" in scope["query_string"]:
        # Browsers cannot send headers with it.
        return parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
    return None


def stays_open(scope: AsgiScope) -> bool:
    """Tell whether a connection is one of those that last: a websocket, or a stream of events."""
    return scope["type"] == "websocket" or scope["path"].endswith("/events")
