"""What a key must allow for a request: by its method, unless the handler says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Scope as AsgiScope

from autogpt_server.errors import NotAuthorizedError
from autogpt_server.model.principal import Principal, Scope

Handler = TypeVar("Handler", bound=Callable[..., Any])

#: Where a request notes its principal.
PRINCIPAL_KEY = "autogpt.principal"
_MARK = "__needs__"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def needs(scope: Scope | None) -> Callable[[Handler], Handler]:
    """Mark a handler: the key of whoever calls it must allow this; None for nothing."""

    def mark(handler: Handler) -> Handler:
        setattr(handler, _MARK, scope)
        return handler

    return mark


def scope_of(handler: Any, method: str) -> Scope | None:
    """Tell what a handler needs: reading for methods that only read, writing for the others, unless it is marked."""
    return getattr(handler, _MARK, Scope.READ if method in _READING else Scope.WRITE)


def principal_of(scope: AsgiScope) -> Principal:
    """Return who sends a request."""
    return scope[PRINCIPAL_KEY]


def check_allowed(principal: Principal, scope: Scope) -> None:
    """Refuse what the key does not allow.

    Raises:
        NotAuthorizedError: It does not; names what is lacking.
    """
    if not principal.may(scope):
        raise NotAuthorizedError(
            f"Your key does not allow {scope.value}: it is one of a {principal.role.value} "
            f"for {', '.join(sorted(principal.scopes)) or 'nothing'}."
        )


# Async, although nothing is awaited: FastAPI would send each call of a plain function to a thread.
async def check_scope(request: Request) -> None:
    """Refuse a request that the key does not allow; a dependency of every route."""
    scope = scope_of(request.scope["endpoint"], request.method)
    if scope is not None:
        check_allowed(principal_of(request.scope), scope)
