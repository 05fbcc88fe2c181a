"""Refuses query parameters that a route does not know: a misspelt one would silently do nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.dependencies.models import Dependant

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.suggestions import Suggestions, as_path

Handler = TypeVar("Handler", bound=Callable[..., Any])

_MARK = "__takes_any_parameters__"


def takes_any_parameters(handler: Handler) -> Handler:
    """Mark a handler that lets parameters be which it does not know: others choose what is sent to it."""
    setattr(handler, _MARK, True)
    return handler


async def refuse_unknown_parameters(request: Request) -> None:
    """Check the names of a request's query parameters; a dependency of every route.

    Raises:
        InvalidError: Names each that the route does not know, or that is there more than once.
    """
    query: bytes = request.scope["query_string"]
    if not query or getattr(request.scope["endpoint"], _MARK, False):
        return
    given = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    known = _names(request.scope["route"].dependant)
    suggest = Suggestions()
    problems = [
        Problem(
            as_path(name),
            "is no query parameter of this address",
            (suggest(name, known) if known else None) or "remove it",
        )
        for name in given
        if name not in known
    ]
    problems += [
        Problem(name, f"is given {count} times", "give it once")
        for name, count in given.items()
        if count > 1 and name in known
    ]
    if problems:
        raise InvalidError("The request was refused.", problems)


def _names(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_names(part) for part in dependant.dependencies))
