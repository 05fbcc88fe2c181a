"""Answers the one request that comes thousands of times a second, executing a graph, before the framework sees it:
that takes several times as long as everything else about such a request.

Only the usual form is answered here.  Whatever is unusual, and whatever a guard might refuse, goes to the framework,
whose route in ``api/graphs.py`` answers and documents all forms.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from autogpt_server.errors import ServerError
from autogpt_server.model.ids import is_uuid
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.server.bodies import INLINE_BYTES, parse_inputs
from autogpt_server.server.deps import services_of, user_of
from autogpt_server.server.doorkeeper import is_ours
from autogpt_server.server.problems import answer_defect, answer_error

_PREFIX, _SUFFIX = "/api/graphs/", "/execute"
#: The route that is answered here, as it is named everywhere.
EXECUTE_ROUTE = "/api/graphs/{graph_id}/execute"
_IDEMPOTENCY_KEY = b"idempotency-key"
#: Headers that a guard or another reader of the body must look at.
_UNUSUAL = frozenset({b"origin", b"transfer-encoding", b"expect"})

Headers = dict[bytes, bytes]


class Application(FastAPI):
    """The framework's application with the quick lane before it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (graph_id := executed_graph(scope)) is not None:
            headers: Headers = dict(scope["headers"])
            if self._is_usual(headers):
                await self._execute(graph_id, headers, scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _is_usual(self, headers: Headers) -> bool:
        length = headers.get(b"content-length", b"0")
        return (
            _UNUSUAL.isdisjoint(headers)
            and length.isdigit()
            and int(length[:10]) <= INLINE_BYTES
            and is_ours(headers.get(b"host", b"").decode("latin-1"), self.state.own_host)
        )

    async def _execute(self, graph_id: str, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        try:
            key = headers.get(_IDEMPOTENCY_KEY)
            execution_id, status = await services_of(self).submitter.submit(
                user_of(scope),
                graph_id,
                parse_inputs(body),
                idempotency_key=None if key is None else key.decode("latin-1"),
            )
        except ServerError as error:
            await answer_error(error)(scope, receive, send)
        except Exception as error:
            # The border of the request: no error of ours may end more than this one answer.
            await answer_defect(scope, error)(scope, receive, send)
        else:
            await _answer(send, execution_id, dumps({"id": execution_id, "status": status}).encode())


def executed_graph(scope: Scope) -> str | None:
    """Tell of which graph a request executes the active version."""
    path: str = scope["path"]
    if not path.endswith(_SUFFIX) or not path.startswith(_PREFIX):
        return None
    graph_id = path[len(_PREFIX) : -len(_SUFFIX)]
    return graph_id if scope["method"] == "POST" and not scope["query_string"] and is_uuid(graph_id) else None


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


async def _answer(send: Send, execution_id: str, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"location", f"/api/executions/{execution_id}".encode()),
    ]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": body})
