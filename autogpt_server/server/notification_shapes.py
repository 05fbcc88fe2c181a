"""What is taken and answered about notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from autogpt_server.model.notification import (
    Frequency,
    Message,
    MessageState,
    NotificationType,
    Preferences,
    Target,
    TargetKind,
)
from autogpt_server.server.shapes import Shape


class PreferencesShape(Shape):
    frequencies: dict[NotificationType, Frequency] = Field(description="How soon you are told of what.")

    @classmethod
    def of(cls, preferences: Preferences) -> Self:
        return cls(frequencies=preferences.frequencies)


class PreferencesBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    frequencies: dict[NotificationType, Frequency] = Field(description="What is not named has its default.")


class TargetShape(Shape):
    """Where you are told.  Of an address only what gives nothing away is shown."""

    id: str
    kind: TargetKind
    name: str
    address: str = Field(description="A mail address, or the scheme and host of a URL.")
    is_enabled: bool
    created_at: datetime

    @classmethod
    def of(cls, target: Target) -> Self:
        scheme, _, rest = target.address.partition("://")
        shown = target.address
        if target.kind is TargetKind.WEBHOOK:
            shown = f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}/…"
        elif target.kind is TargetKind.APPRISE:
            shown = f"{scheme}://…"
        return cls(
            id=target.id,
            kind=target.kind,
            name=target.name,
            address=shown,
            is_enabled=target.is_enabled,
            created_at=target.created_at,
        )


class NewTargetShape(TargetShape):
    secret: str | None = Field(description="What a webhook's messages are signed with.  It is shown this once.")


class NewTargetBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: TargetKind
    address: Annotated[str, Field(min_length=1, max_length=2000, description="A mail address or a URL.")]
    name: Annotated[str, Field(max_length=200)] = ""


class TargetChanges(BaseModel):
    model_config = ConfigDict(extra="forbid")

    is_enabled: bool


class MessageShape(Shape):
    """A message to one target: one notification, or several."""

    id: str
    target_id: str | None = Field(description="Null for your own address.")
    state: MessageState
    total: int = Field(description="Notifications in it.")
    attempt: int
    error: str | None = Field(description="Why the last try failed.")
    try_at: datetime = Field(description="When the next try is, of one that waits.")
    sent_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, message: Message) -> Self:
        return cls(
            id=message.id,
            target_id=message.target_id,
            state=message.state,
            total=message.total,
            attempt=message.attempt,
            error=message.error,
            try_at=message.try_at,
            sent_at=message.sent_at,
            created_at=message.created_at,
        )
