"""What is taken and answered about users and keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from autogpt_server.model.account import ApiKey, User
from autogpt_server.model.principal import Role, Scope
from autogpt_server.server.shapes import Shape
from autogpt_server.server.written_times import Moment


class UserShape(Shape):
    id: str
    email: str
    name: str | None
    timezone: str
    role: Role
    is_disabled: bool = Field(description="Their keys do not work.")
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            timezone=user.timezone,
            role=user.role,
            is_disabled=user.disabled_at is not None,
            created_at=user.created_at,
        )


class Me(Shape):
    """Who sends this request, and what the key that came with it allows."""

    user: UserShape
    scopes: list[Scope]
    key_id: str | None = Field(description="Null where the server asks for no key.")


class KeyShape(Shape):
    """A key, without its secret."""

    id: str
    user_id: str
    name: str
    prefix: str = Field(description="How the key begins, after `agk_`.")
    scopes: list[Scope]
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        return cls(**_fields(key))


class NewKeyShape(KeyShape):
    """A key that was made now."""

    key: str = Field(description="The key itself.  It is shown this once.")

    @classmethod
    def made(cls, key: ApiKey, text: str) -> Self:
        return cls(**_fields(key), key=text)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUserBody(_Body):
    email: str
    name: str | None = None
    timezone: str = "UTC"
    role: Role = Role.MEMBER


class MyChanges(_Body):
    email: str = ""
    name: str | None = None
    timezone: str = ""


class UserChanges(MyChanges):
    role: Role = Role.MEMBER
    is_disabled: bool = False


class NewKeyBody(_Body):
    name: Annotated[str, Field(description="To tell it from others.")]
    scopes: list[Scope] | None = Field(default=None, description="By default all that the role allows.")
    expires_at: Moment | None = Field(default=None, description="By default it does not expire.")
    user_id: str | None = Field(default=None, description="Whose; by default yours.")


class ClaimBody(_Body):
    token: str = Field(description="As the server printed it at its start.")
    name: str = "first key"


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "user_id": key.user_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "created_at": key.created_at,
    }
