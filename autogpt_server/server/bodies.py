"""Reads request bodies: JSON with every digit kept, nothing that no database stores, and the place of what is wrong.

Not the framework's own reader: it rounds no number but knows no limit of depth, NUL or surrogates.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.jsonvalue import MAX_DEPTH, JsonValueError, loads, plain
from autogpt_server.model.misfits import invalid_input
from autogpt_server.model.suggestions import as_path

#: Bytes up to which a body is read on the event loop, in a few milliseconds at most; longer ones go to a thread.
INLINE_BYTES = 16 * 1024
#: Where the OpenAPI document keeps what schemas refer to.
SCHEMAS = "#/components/schemas/{model}"
#: What names the body itself in a problem.
_BODY = "body"

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request) -> Any:
    """Read a JSON body.

    Raises:
        InvalidError: It is empty, no JSON, too deeply nested, or holds what cannot be stored; names the place.
    """
    raw = await request.body()
    return await asyncio.to_thread(parse_json, raw) if len(raw) > INLINE_BYTES else parse_json(raw)


async def read_object(request: Request) -> dict[str, Any]:
    """Read a JSON object.  Raises InvalidError as ``read_json``, and for every other JSON."""
    return _as_object(await read_json(request))


async def read_inputs(request: Request) -> dict[str, Any]:
    """Read the inputs of an execution; no body means none.  Raises InvalidError as ``read_object``."""
    raw = await request.body()
    return await asyncio.to_thread(parse_inputs, raw) if len(raw) > INLINE_BYTES else parse_inputs(raw)


async def refuse_fields(request: Request) -> None:
    """Refuse a body that says anything, for a route that takes none: nobody is to believe that it was heard.

    Raises:
        InvalidError: It is no JSON object, or names the fields that it holds.
    """
    if fields := await read_inputs(request):
        raise _refused(
            *(Problem(as_path(name), "is unknown", "remove it; no field is known here") for name in list(fields)[:100])
        )


def parse_inputs(raw: bytes) -> dict[str, Any]:
    """Read the inputs of an execution; no body means none.  Raises InvalidError as ``read_object``."""
    return _as_object(parse_json(raw)) if raw.strip() else {}


JsonBody = Annotated[Any, Depends(read_json)]
ObjectBody = Annotated[dict[str, Any], Depends(read_object)]
InputsBody = Annotated[dict[str, Any], Depends(read_inputs)]


def parse_json(raw: bytes) -> Any:
    """Read JSON.  Raises InvalidError as ``read_json``."""
    if not raw.strip():
        raise _refused(Problem(_BODY, "is empty", "send JSON"))
    try:
        return plain(loads(raw))
    except JsonValueError as error:
        raise _refused(Problem(error.place or _BODY, error.reason, error.fix)) from None
    except ValueError as error:
        raise _refused(_explain(raw, str(error))) from None


def parse_model(cls: type[M], document: dict[str, Any], *, place: str = "", is_secret: bool = False) -> M:
    """Read a document by a model.

    Args:
        cls: The model.
        document: What was sent.
        place: Of the document in the body.
        is_secret: Say nothing of what was sent where it is refused.

    Raises:
        InvalidError: Names every place that does not fit.
    """
    try:
        return cls.model_validate(document)
    except ValidationError as error:
        raise invalid_input("The body was refused.", error, cls, prefix=place, is_secret=is_secret) from None


def documented(schema: dict[str, Any] | type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Describe a body in OpenAPI, for a route that reads it by this module."""
    if not isinstance(schema, dict):
        schema = schema.model_json_schema(ref_template=SCHEMAS)
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _as_object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast(dict[str, Any], value)
    raise _refused(Problem(_BODY, "is not a JSON object", "send {...}"))


def _explain(raw: bytes, reason: str) -> Problem:
    """Say what is wrong with a body that the strict reader refused; a laxer one finds the place where it can."""
    if reason.startswith("recursion limit"):
        return Problem(_BODY, f"is nested deeper than {MAX_DEPTH} levels", f"stay below {MAX_DEPTH} levels")
    try:
        plain(json.loads(raw.decode()))
    except UnicodeDecodeError as error:
        return Problem(_BODY, f"is not UTF-8: byte {error.start} is wrong", "send UTF-8")
    except JsonValueError as error:
        return Problem(error.place or _BODY, error.reason, error.fix)
    except (ValueError, RecursionError):
        pass
    return Problem(_BODY, f"is not JSON: {reason}", "send JSON (RFC 8259)")


def _refused(*problems: Problem) -> InvalidError:
    return InvalidError("The body was refused.", problems)
