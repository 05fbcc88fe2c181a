"""The OpenAPI document: what FastAPI finds out by itself, and the problem that stands for every error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from autogpt_server.server.bodies import SCHEMAS
from autogpt_server.server.problems import KINDS, MEDIA_TYPE
from autogpt_server.server.shapes import ProblemAnswer

#: To be given to every route as ``responses``; FastAPI then leaves out its own form of 422.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
    }
}

_DESCRIPTION = """Build graphs of blocks, execute them, and see what happened.

Lists page: follow `next_cursor` with `?cursor=`.  Times are ISO 8601 in UTC.  UUIDs are read in any case and answered
in lower case.  Query parameters and fields that are not known are refused.  Every error is answered with
`application/problem+json`; branch on its `type`, which never changes:

{kinds}
"""


def describe(app: FastAPI) -> None:
    """Make an application describe itself, problems included."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi


def _document(app: FastAPI) -> dict[str, Any]:
    kinds = sorted({(kind.status, kind.type, kind.title) for kind in KINDS})
    listed = "\n".join(f"- {status} `{urn}`: {title}" for status, urn, title in kinds)
    document = get_openapi(
        title=app.title, version=app.version, description=_DESCRIPTION.format(kinds=listed), routes=app.routes
    )
    problem = ProblemAnswer.model_json_schema(ref_template=SCHEMAS)
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for operation in (each for path in document["paths"].values() for each in path.values()):
        for body in operation.get("requestBody", {}).get("content", {}).values():
            # Those that we describe by ourselves bring along what they refer to.
            schemas |= body.get("schema", {}).pop("$defs", {})
    schemas |= problem.pop("$defs")
    schemas["ProblemAnswer"] = problem
    return document
