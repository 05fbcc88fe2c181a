"""Executing the active version of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from autogpt_server.model.ids import canonical_id, is_uuid
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.model.principal import Scope
from autogpt_server.server.bodies import parse_inputs
from autogpt_server.server.deps import services_of, user_of

_PREFIX, _SUFFIX = "/api/graphs/", "/execute"
_IDEMPOTENCY_KEY = b"idempotency-key"


@dataclass(frozen=True, slots=True)
class Executing:
    """A request to execute a graph, with the inputs in its body."""

    route: ClassVar = "/api/graphs/{graph_id}/execute"
    needs: ClassVar = Scope.EXECUTE

    graph_id: str
    headers: dict[bytes, bytes]

    @classmethod
    def parse(cls, scope: AsgiScope) -> Executing | None:
        path: str = scope["path"]
        if not path.endswith(_SUFFIX) or not path.startswith(_PREFIX):
            return None
        graph_id = path[len(_PREFIX) : -len(_SUFFIX)]
        if scope["method"] != "POST" or scope["query_string"] or not is_uuid(graph_id):
            return None
        return cls(canonical_id(graph_id), dict(scope["headers"]))

    async def answer(self, app: Starlette, scope: AsgiScope, receive: Receive) -> ASGIApp | None:
        """Give the answer; None when the client has gone before the end of its request."""
        body = await _read_body(receive)
        if body is None:
            return None
        key = self.headers.get(_IDEMPOTENCY_KEY)
        execution_id, status = await services_of(app).submitter.submit(
            user_of(scope),
            self.graph_id,
            parse_inputs(body),
            idempotency_key=None if key is None else key.decode("latin-1"),
        )
        return _accepted(execution_id, dumps({"id": execution_id, "status": status}).encode())


async def _read_body(receive: Receive) -> bytes | None:
    """Read a whole body; None when the client has gone before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


def _accepted(execution_id: str, body: bytes) -> ASGIApp:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"location", f"/api/executions/{execution_id}".encode()),
    ]

    async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer
