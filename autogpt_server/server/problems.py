"""Which error is answered with which status, and how: ``application/problem+json`` (RFC 9457), for every error.

The one place where HTTP codes of errors stand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autogpt_server.errors import (
    BlockError,
    ConflictError,
    InvalidError,
    NotAuthenticated,
    NotAuthorizedError,
    NotFoundError,
    Problem,
    ServerError,
    TooLarge,
    Unavailable,
)
from autogpt_server.model.ids import new_id
from autogpt_server.model.jsonvalue import dumps, storable_text
from autogpt_server.model.misfits import misfits

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
#: Problems that one answer lists; a graph or a batch may have a million.
MAX_PROBLEMS = 100
#: Seconds after which a client may ask again when something is away.
_RETRY_AFTER = 1
#: What nginx calls it when the client did not wait for the answer.
_CLIENT_GONE = 499


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of problems; ``type`` never changes, so clients may branch on it."""

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        return f"urn:autogpt:problem:{self.slug}"


MALFORMED = Kind(400, "malformed", "Not HTTP")
UNKNOWN = Kind(401, "not-authenticated", "No valid key")
FORBIDDEN = Kind(403, "forbidden", "Not allowed")
INVALID = Kind(422, "invalid", "Input refused")
TOO_LARGE = Kind(413, "too-large", "Body too large")
INTERNAL = Kind(500, "internal", "Internal error")

#: The first class that fits decides, so children stand before parents.
BY_ERROR: tuple[tuple[type[ServerError], Kind], ...] = (
    (NotFoundError, Kind(404, "not-found", "Not found")),
    (NotAuthenticated, UNKNOWN),
    (TooLarge, TOO_LARGE),
    (NotAuthorizedError, FORBIDDEN),
    (InvalidError, INVALID),
    (ConflictError, Kind(409, "conflict", "Conflict")),
    (BlockError, Kind(422, "block-failed", "The block failed")),
    (Unavailable, Kind(503, "unavailable", "Not available now")),
)

#: What the framework itself answers.
BY_STATUS = {
    404: Kind(404, "no-such-path", "No such path"),
    405: Kind(405, "method-not-allowed", "Method not allowed"),
    413: TOO_LARGE,
    422: INVALID,
}

KINDS = (MALFORMED, *(kind for _, kind in BY_ERROR), *BY_STATUS.values(), INTERNAL)


def problem_response(
    kind: Kind, detail: str, errors: Sequence[Problem] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a problem; of more than ``MAX_PROBLEMS`` errors the first are listed and the rest counted."""
    left_out = len(errors) - MAX_PROBLEMS
    if left_out > 0:
        detail = f"{detail} Only the first {MAX_PROBLEMS} of {len(errors):,} problems are listed."
    body = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": storable_text(detail),
        "errors": [_listed(problem) for problem in errors[:MAX_PROBLEMS]],
    }
    return Response(dumps(body), kind.status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Make an application answer every error with a problem."""
    app.add_exception_handler(ServerError, _on_server_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_bad_parameters)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


class LastResort:
    """Answers whatever no handler answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def watch(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            # The border of the request: no error of ours may end more than this one answer.
            if scope["type"] != "http" or has_started:
                raise
            await answer_defect(scope, error)(scope, receive, send)


def answer_defect(scope: Scope, error: Exception) -> Response:
    """Answer what nobody expected with a problem that tells an id; the log tells the rest under it."""
    log_id = new_id()
    log.error("%s %s failed (%s)", scope["method"], scope["path"], log_id, exc_info=error)
    return problem_response(INTERNAL, f"The server failed; its log says more under {log_id}.")


def answer_error(error: ServerError) -> Response:
    """Answer an error of ours with its problem.  What has no kind is raised again."""
    kind = next((kind for cls, kind in BY_ERROR if isinstance(error, cls)), None)
    if kind is None:
        raise error
    if isinstance(error, InvalidError):
        return problem_response(kind, error.message, error.problems)
    if isinstance(error, NotAuthenticated):
        return problem_response(kind, str(error), headers={"WWW-Authenticate": "Bearer"})
    if isinstance(error, Unavailable):
        log.warning("not available: %s", error)
        return problem_response(kind, str(error), headers={"Retry-After": str(_RETRY_AFTER)})
    return problem_response(kind, str(error))


async def refuse(error: ServerError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that goes no further with the problem of an error; a websocket is closed before it opens."""
    if scope["type"] == "websocket":
        # The server answers 403.
        await send({"type": "websocket.close"})
    else:
        await answer_error(error)(scope, receive, send)


def _on_server_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServerError)
    return answer_error(error)


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    kind = BY_STATUS.get(error.status_code) or Kind(error.status_code, phrase.lower().replace(" ", "-"), phrase)
    detail = error.detail
    if detail == phrase:
        detail = f"{request.method} {request.url.path}: {detail}."
    return problem_response(kind, detail, headers=error.headers)


def _on_bad_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The first step of a place says where it stands (query, path, header); its name is enough.
    found = cast(Sequence[dict[str, Any]], error.errors())
    problems = misfits({**one, "loc": one["loc"][1:]} for one in found)
    return problem_response(INVALID, "The request was refused.", problems)


def _on_disconnect(_: Request, __: Exception) -> Response:
    # Nobody reads it; the status shows in the metrics.
    return Response(status_code=_CLIENT_GONE)


def _listed(problem: Problem) -> dict[str, str]:
    return {name: storable_text(text) for name, text in asdict(problem).items() if text is not None}
