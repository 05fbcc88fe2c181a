"""What handlers ask for in their signatures: the services, the user, and parameters that were checked."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Depends, Header, Path, Query, Request
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from starlette.applications import Starlette
from starlette.types import Scope

from autogpt_server.data.pages import decode_cursor
from autogpt_server.errors import InvalidError
from autogpt_server.model.ids import canonical_id, is_uuid
from autogpt_server.model.jsonvalue import JsonValueError, plain
from autogpt_server.model.misfits import FIX
from autogpt_server.model.principal import Principal
from autogpt_server.model.suggestions import short
from autogpt_server.model.turns import MAX_PRIORITY, MIN_PRIORITY
from autogpt_server.server.needs import principal_of
from autogpt_server.server.services import Services

#: Items of a page, at most.
MAX_PAGE = 500
#: Greatest integer that a column holds.
MAX_INT = 2**31 - 1


def services_of(app: Starlette) -> Services:
    """Return what an application works with."""
    return cast(Services, app.state.services)


def user_of(scope: Scope) -> str:
    """Tell who sends a request."""
    return principal_of(scope).user_id


# Async, although nothing is awaited: FastAPI would send each call of a plain function to a thread.
async def _services(request: Request) -> Services:
    return services_of(request.app)


async def _user_id(request: Request) -> str:
    return user_of(request.scope)


async def _principal(request: Request) -> Principal:
    return principal_of(request.scope)


def _check_uuid(text: str) -> str:
    if is_uuid(text):
        return canonical_id(text)
    fix = "write it with its dashes, like 01234567-89ab-7cde-8f01-23456789abcd"
    raise PydanticCustomError("uuid", "{shown} is no UUID", {"shown": repr(short(text)), FIX: fix})


def _check_cursor(text: str) -> str:
    try:
        position = plain(decode_cursor(text))
    except (InvalidError, JsonValueError):
        position = None
    # What a forged one holds must not reach the database.
    parts = cast(list[Any], position if isinstance(position, list) else [position])
    if all(isinstance(part, str) or (type(part) is int and abs(part) <= MAX_INT) for part in parts):
        return text
    fix = "use next_cursor of the page before, or leave it out"
    raise PydanticCustomError("cursor", "it is not a cursor of this list", {FIX: fix})


_UUID_FORMAT = {"format": "uuid"}

ServicesDep = Annotated[Services, Depends(_services)]
UserId = Annotated[str, Depends(_user_id)]
CurrentPrincipal = Annotated[Principal, Depends(_principal)]

GraphId = Annotated[str, Path(json_schema_extra=_UUID_FORMAT), AfterValidator(_check_uuid)]
ExecutionId = Annotated[str, Path(json_schema_extra=_UUID_FORMAT), AfterValidator(_check_uuid)]
VersionInPath = Annotated[int, Path(ge=1, le=MAX_INT)]
Version = Annotated[int | None, Query(ge=1, le=MAX_INT, description="Version of the graph; the active one by default.")]
NewIds = Annotated[bool, Query(description="Give new ids to the graph, its nodes and links.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of the page.")]
Cursor = Annotated[
    str | None, Query(description="`next_cursor` of the page before."), AfterValidator(lambda c: c and _check_cursor(c))
]
Priority = Annotated[
    int,
    Query(
        ge=MIN_PRIORITY,
        le=MAX_PRIORITY,
        description="Of your executions that wait, those with a higher priority start first.",
    ),
]
RerunPriority = Annotated[
    int | None, Query(ge=MIN_PRIORITY, le=MAX_PRIORITY, description="By default that of the execution.")
]
IdempotencyKey = Annotated[
    str | None, Header(description="A second request with this key answers with the first one's execution.")
]
