"""What is taken and answered about credentials.  What they hold is taken and never answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from autogpt_server.credentials.oauth import Login
from autogpt_server.credentials.providers import OAuthProvider
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.credentials import (
    ApiKeySecrets,
    Credentials,
    CredentialsType,
    HostScopedSecrets,
    Secrets,
    UserPasswordSecrets,
)
from autogpt_server.server.bodies import parse_model
from autogpt_server.server.shapes import Shape

#: What can be given; an access token comes from its provider.
_GIVEN = {"api_key": ApiKeySecrets, "user_password": UserPasswordSecrets, "host_scoped": HostScopedSecrets}

_Title = Annotated[str, Field(description="To tell them from others; by default the provider.")]


class CredentialsShape(Shape):
    """Credentials, without what they hold.  `id`, `provider` and `type` are what a pin takes."""

    id: str
    title: str
    provider: str
    type: CredentialsType
    scopes: list[str] = Field(description="What the provider was asked for, of `oauth2`.")
    expires_at: datetime | None = Field(description="When the access token does; it is refreshed before.")
    problem: str | None = Field(description="Why they are of no use any more.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, one: Credentials) -> Self:
        return cls(
            id=one.id,
            title=one.title,
            provider=one.provider,
            type=one.type,
            scopes=list(one.scopes),
            expires_at=one.expires_at,
            problem=one.problem,
            created_at=one.created_at,
            updated_at=one.updated_at,
        )


class NewCredentialsBody(BaseModel):
    """Credentials to be kept."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"provider": "github", "title": "CI", "secrets": {"type": "api_key", "api_key": "..."}}
        },
    )

    provider: str = Field(description="The service that they are for.")
    title: _Title | None = None
    secrets: dict[str, Any] = Field(
        description="`{type: api_key, api_key}`, `{type: user_password, username, password}` or "
        "`{type: host_scoped, host, headers}`."
    )


class CredentialsChanges(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: _Title | None = None
    secrets: dict[str, Any] | None = Field(default=None, description="Replace what they hold; of the same type.")


class ProviderShape(Shape):
    """A provider with which you can connect."""

    name: str
    scopes: list[str] = Field(description="What it is asked for where you do not say.")

    @classmethod
    def of(cls, name: str, provider: OAuthProvider) -> Self:
        return cls(name=name, scopes=list(provider.scopes))


class NewLoginBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: _Title | None = None
    scopes: list[Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]] | None = Field(
        default=None, max_length=100, description="What to ask the provider for; by default what its entry says."
    )
    credentials_id: str | None = Field(
        default=None, max_length=191, description="Of credentials that get new tokens; by default new ones are made."
    )


class LoginShape(Shape):
    """A login that was begun."""

    authorization_url: str = Field(description="Open it in a browser; it is good once.")
    expires_at: datetime

    @classmethod
    def of(cls, login: Login) -> Self:
        return cls(authorization_url=login.authorization_url, expires_at=login.expires_at)


def read_secrets(document: dict[str, Any]) -> Secrets:
    """Read what credentials shall hold.

    Raises:
        InvalidError: Names every place that does not fit.
    """
    cls = _GIVEN.get(document["type"]) if isinstance(document.get("type"), str) else None
    if cls is None:
        fix = f"give one of {', '.join(_GIVEN)}; for oauth2, connect with its provider"
        raise InvalidError("The body was refused.", [Problem("secrets.type", "is none that can be given", fix)])
    return parse_model(cls, document, place="secrets", is_secret=True)
