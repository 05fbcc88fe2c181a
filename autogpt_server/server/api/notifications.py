"""Notifications: how soon you are told of what, where, and what became of it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import AfterValidator

from autogpt_server.accounts.accounts import check_user
from autogpt_server.data.messages import Messages
from autogpt_server.data.targets import Targets
from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from autogpt_server.model.ids import canonical_id, new_id
from autogpt_server.model.notification import Notification, NotificationType, Target, TargetKind
from autogpt_server.notifications.channels import SendFailed, check_target
from autogpt_server.notifications.rendering import Renderer
from autogpt_server.notifications.sending import Sender
from autogpt_server.server.bodies import ObjectBody, documented, parse_model, refuse_fields
from autogpt_server.server.deps import Cursor, Limit, ServicesDep, UserId
from autogpt_server.server.notification_shapes import (
    MessageShape,
    NewTargetBody,
    NewTargetShape,
    PreferencesBody,
    PreferencesShape,
    TargetChanges,
    TargetShape,
)
from autogpt_server.server.services import Services
from autogpt_server.server.shapes import Listing

router = APIRouter(prefix="/notifications", tags=["notifications"])

TargetId = Annotated[str, Path(max_length=191), AfterValidator(canonical_id)]


@router.get("")
async def list_messages(
    services: ServicesDep, user_id: UserId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[MessageShape]:
    """List the messages to you, the latest first, with what became of each."""
    page = await asyncio.to_thread(Messages(services.database).list, user_id, limit=limit, cursor=cursor)
    return Listing[MessageShape](items=[MessageShape.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/preferences")
async def get_preferences(services: ServicesDep, user_id: UserId) -> PreferencesShape:
    """Get how soon you are told of what."""
    return PreferencesShape.of(await asyncio.to_thread(_targets(services).preferences, user_id))


@router.put("/preferences", openapi_extra=documented(PreferencesBody))
async def put_preferences(services: ServicesDep, user_id: UserId, document: ObjectBody) -> PreferencesShape:
    """Say how soon you want to be told of what: `immediate`, `hourly`, `daily` or `never`."""
    body = parse_model(PreferencesBody, document)
    chosen = {kind.value: frequency.value for kind, frequency in body.frequencies.items()}
    await asyncio.to_thread(_targets(services).prefer, user_id, chosen)
    return PreferencesShape.of(await asyncio.to_thread(_targets(services).preferences, user_id))


@router.get("/targets")
async def list_targets(services: ServicesDep, user_id: UserId) -> Listing[TargetShape]:
    """List where you are told.  Without any, mail goes to your address."""
    found = await asyncio.to_thread(_targets(services).list, user_id)
    return Listing[TargetShape](items=[TargetShape.of(one) for one in found], next_cursor=None)


@router.post("/targets", status_code=201, openapi_extra=documented(NewTargetBody))
async def create_target(services: ServicesDep, user_id: UserId, document: ObjectBody) -> NewTargetShape:
    """Add a place where you are told: a mail address, a webhook, or a service by its Apprise URL."""
    body = parse_model(NewTargetBody, document)
    if body.kind is TargetKind.MAIL:
        check_user({"email": body.address})
    await asyncio.to_thread(check_target, services.settings, body.kind.value, body.address)
    secret = secrets.token_urlsafe(32) if body.kind is TargetKind.WEBHOOK else None
    now = clock.from_ms(clock.now_ms())
    target = Target(new_id(), user_id, body.kind, body.name or body.kind.value, body.address, secret, True, now)
    await asyncio.to_thread(_targets(services).add, target)
    return NewTargetShape(**TargetShape.of(target).model_dump(), secret=secret)


@router.patch("/targets/{target_id}", openapi_extra=documented(TargetChanges))
async def edit_target(services: ServicesDep, user_id: UserId, target_id: TargetId, document: ObjectBody) -> TargetShape:
    """Use a target, or use it no more."""
    body = parse_model(TargetChanges, document)
    return TargetShape.of(await asyncio.to_thread(_targets(services).enable, user_id, target_id, body.is_enabled))


@router.delete("/targets/{target_id}", status_code=204)
async def delete_target(services: ServicesDep, user_id: UserId, target_id: TargetId) -> None:
    """Delete a target.  Messages that wait for it fail."""
    await asyncio.to_thread(_targets(services).remove, user_id, target_id)


@router.post("/targets/{target_id}/test", status_code=204, dependencies=[Depends(refuse_fields)])
async def try_target(services: ServicesDep, user_id: UserId, target_id: TargetId) -> None:
    """Send a message to a target now; 503 says why it did not arrive."""
    try:
        await asyncio.to_thread(_send_test, services, user_id, target_id)
    except SendFailed as error:
        raise Unavailable(str(error)) from None


def _send_test(services: Services, user_id: str, target_id: str) -> None:
    target = _targets(services).get(user_id, target_id)
    data = {"subject": "A test", "message": "this target works"}
    now = clock.now()
    note = Notification(new_id(), user_id, NotificationType.LIMIT_REACHED, data, now)
    sender = Sender(services.settings, services.database, _targets(services))
    user = services.users.get(user_id)
    rendered = Renderer().render(user, [note], 1)
    payload: dict[str, object] = {
        "id": note.id,
        "user_id": user_id,
        "subject": "A test",
        "total": 0,
        "notifications": [],
    }
    sender.send_now(target, rendered, note.id, payload)


def _targets(services: Services) -> Targets:
    return Targets(services.database, services.keyring)
