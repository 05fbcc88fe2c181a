"""Users and their keys."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.errors import NotAuthorizedError
from autogpt_server.model.account import User
from autogpt_server.model.ids import canonical_id
from autogpt_server.model.principal import Principal, Scope
from autogpt_server.scheduler.scheduling import pause_all
from autogpt_server.server.account_shapes import (
    ClaimBody,
    KeyShape,
    Me,
    MyChanges,
    NewKeyBody,
    NewKeyShape,
    NewUserBody,
    UserChanges,
    UserShape,
)
from autogpt_server.server.bodies import ObjectBody, documented, parse_model
from autogpt_server.server.deps import CurrentPrincipal, Cursor, Limit, ServicesDep
from autogpt_server.server.needs import needs
from autogpt_server.server.services import Services
from autogpt_server.server.shapes import Listing

router = APIRouter(tags=["accounts"])

SomeId = Annotated[str, Path(max_length=191), AfterValidator(canonical_id)]
OfAll = Annotated[bool, Query(description="Those of all users; needs `admin`.")]


@router.get("/me")
async def get_me(services: ServicesDep, principal: CurrentPrincipal) -> Me:
    """Tell who sends this request, and what the key allows."""
    user = await asyncio.to_thread(_accounts(services).users.get, principal.user_id)
    return Me(user=UserShape.of(user), scopes=sorted(principal.scopes), key_id=principal.key_id)


@router.patch("/me", openapi_extra=documented(MyChanges))
async def edit_me(services: ServicesDep, principal: CurrentPrincipal, document: ObjectBody) -> UserShape:
    """Change your address, name or time zone."""
    changes = parse_model(MyChanges, document).model_dump(exclude_unset=True)
    return UserShape.of(await asyncio.to_thread(_accounts(services).edit_user, principal.user_id, changes))


@router.get("/users")
@needs(Scope.ADMIN)
async def list_users(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> Listing[UserShape]:
    """List the users of the server."""
    page = await asyncio.to_thread(_accounts(services).users.list, limit=limit, cursor=cursor)
    return Listing[UserShape](items=[UserShape.of(user) for user in page.items], next_cursor=page.next_cursor)


@router.post("/users", status_code=201, openapi_extra=documented(NewUserBody))
@needs(Scope.ADMIN)
async def create_user(services: ServicesDep, document: ObjectBody) -> UserShape:
    """Create a user; they come in with a key that is made for them."""
    body = parse_model(NewUserBody, document)
    accounts = _accounts(services)
    user = await asyncio.to_thread(accounts.add_user, body.email, body.name, body.timezone, body.role)
    return UserShape.of(user)


@router.get("/users/{user_id}")
@needs(Scope.ADMIN)
async def get_user(services: ServicesDep, user_id: SomeId) -> UserShape:
    """Get a user."""
    return UserShape.of(await asyncio.to_thread(_accounts(services).users.get, user_id))


@router.patch("/users/{user_id}", openapi_extra=documented(UserChanges))
@needs(Scope.ADMIN)
async def edit_user(services: ServicesDep, user_id: SomeId, document: ObjectBody) -> UserShape:
    """Change a user.  The keys of one who is disabled do not work, and their schedules are paused."""
    changes = parse_model(UserChanges, document).model_dump(exclude_unset=True)
    return UserShape.of(await asyncio.to_thread(_edit, services, user_id, changes))


@router.delete("/users/{user_id}")
@needs(Scope.ADMIN)
async def disable_user(services: ServicesDep, user_id: SomeId) -> UserShape:
    """Disable a user: the keys do not work any more, and the schedules are paused.  Nothing is deleted."""
    return UserShape.of(await asyncio.to_thread(_edit, services, user_id, {"is_disabled": True}))


@router.get("/keys")
async def list_keys(
    services: ServicesDep, principal: CurrentPrincipal, of_all: OfAll = False, limit: Limit = 50, cursor: Cursor = None
) -> Listing[KeyShape]:
    """List your keys, the newest first.  What they are is shown when they are made, and never again."""
    if of_all:
        _check_admin(principal, "see the keys of others")
    user_id = None if of_all else principal.user_id
    page = await asyncio.to_thread(_accounts(services).keys.list, user_id, limit=limit, cursor=cursor)
    return Listing[KeyShape](items=[KeyShape.of(key) for key in page.items], next_cursor=page.next_cursor)


@router.post("/keys", status_code=201, openapi_extra=documented(NewKeyBody))
async def create_key(services: ServicesDep, principal: CurrentPrincipal, document: ObjectBody) -> NewKeyShape:
    """Make a key that allows as much as yours, or less.  From the first key on every request needs one."""
    body = parse_model(NewKeyBody, document)
    user_id = canonical_id(body.user_id or principal.user_id)
    if user_id != principal.user_id:
        _check_admin(principal, "make keys for others")
    accounts = _accounts(services)
    user = await asyncio.to_thread(accounts.users.get, user_id)
    key, text = await asyncio.to_thread(accounts.add_key, user, body.name, body.scopes, body.expires_at, principal)
    return NewKeyShape.made(key, text)


@router.delete("/keys/{key_id}")
async def revoke_key(services: ServicesDep, principal: CurrentPrincipal, key_id: SomeId) -> KeyShape:
    """Revoke a key for good.  It works for a second more at most."""
    user_id = None if principal.may(Scope.ADMIN) else principal.user_id
    return KeyShape.of(await asyncio.to_thread(_accounts(services).keys.revoke, key_id, user_id))


@router.post("/keys/claim", status_code=201, openapi_extra=documented(ClaimBody))
@needs(None)
async def claim_key(services: ServicesDep, document: ObjectBody) -> NewKeyShape:
    """Exchange the one-time token that the server printed at its first start beyond loopback for the first key."""
    body = parse_model(ClaimBody, document)
    return NewKeyShape.made(*await asyncio.to_thread(_accounts(services).claim, body.token, body.name))


def _accounts(services: Services) -> Accounts:
    return Accounts(services.database)


def _edit(services: Services, user_id: str, changes: dict[str, Any]) -> User:
    user = _accounts(services).edit_user(user_id, changes)
    if user.disabled_at is not None and "is_disabled" in changes:
        pause_all(services.scheduling, user_id, reason="its user is disabled")
    return user


def _check_admin(principal: Principal, what: str) -> None:
    if not principal.may(Scope.ADMIN):
        raise NotAuthorizedError(f"Your key does not allow to {what}: that needs admin.")
