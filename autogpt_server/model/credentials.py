"""Credentials: what a value of a pin says of them, and what a block gets for it while it runs."""

from __future__ import annotations

import base64
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Union, cast, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo
from typing_extensions import TypeVar

CredentialsType = Literal["api_key", "oauth2", "user_password", "host_scoped"]

CP = TypeVar("CP", bound=str, default=str)
CT = TypeVar("CT", bound=CredentialsType, default=CredentialsType)


class CredentialsMetaInput(BaseModel, Generic[CP, CT]):
    """Which credentials a pin shall use; no secret.  ``CredentialsMetaInput[Literal["github"], Literal["api_key"]]``
    lets only such through."""

    id: str
    title: str | None = None
    provider: CP
    type: CT


def CredentialsField(description: str, *, is_optional: bool = False) -> Any:  # noqa: N802 - as pydantic's Field
    """Declare a credentials pin of a block.  Its annotation is ``CredentialsMetaInput[...]``, or that or None.

    Args:
        description: What they are for.
        is_optional: Whether the block can do without.
    """
    return Field(default=None, description=description) if is_optional else Field(description=description)


def _is_line(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise ValueError("holds a line break or another character that does not print")
    return secret


def _is_header_value(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isascii():
        raise ValueError("holds a character that cannot be sent in a header: use letters, digits and signs of ASCII")
    return _is_line(secret)


def _is_user(name: SecretStr) -> SecretStr:
    if ":" in name.get_secret_value():
        raise ValueError("holds a colon, which ends the name (RFC 7617, section 2)")
    return _is_line(name)


def _is_own_header(name: str) -> str:
    if name.lower() in _SET_BY_CLIENTS:
        raise ValueError("is set by whoever sends the request")
    return name


#: Headers that say how a request travels.
_SET_BY_CLIENTS = frozenset({"host", "content-length", "transfer-encoding", "connection", "te", "upgrade"})

SecretLine = Annotated[SecretStr, AfterValidator(_is_line)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_is_header_value)]
_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}$"), AfterValidator(_is_own_header)]
"""A token of RFC 9110, section 5.1."""
_Host = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?$")]


class _Secrets(BaseModel, ABC):
    """The secret part of credentials, and how a request is made with them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def headers(self, url: str) -> dict[str, str]:
        """Give the headers by which a request to a URL is made with them; none where they are not for it."""

    @abstractmethod
    def secrets(self) -> list[str]:
        """Give every text that must not become known."""


class ApiKeySecrets(_Secrets):
    type: Literal["api_key"] = "api_key"
    api_key: HeaderSecret = Field(min_length=1, max_length=20_000, description="The key or token.")

    def headers(self, url: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    def secrets(self) -> list[str]:
        return [self.api_key.get_secret_value()]


class UserPasswordSecrets(_Secrets):
    type: Literal["user_password"] = "user_password"
    username: Annotated[SecretStr, AfterValidator(_is_user)] = Field(min_length=1, max_length=1000)
    password: SecretLine = Field(min_length=1, max_length=20_000)

    def headers(self, url: str) -> dict[str, str]:
        return {"Authorization": f"Basic {self._basic()}"}

    def secrets(self) -> list[str]:
        return [self.password.get_secret_value(), self._basic()]

    def _basic(self) -> str:
        both = f"{self.username.get_secret_value()}:{self.password.get_secret_value()}"
        return base64.b64encode(both.encode()).decode()


class HostScopedSecrets(_Secrets):
    """Headers for one host, and for no other."""

    type: Literal["host_scoped"] = "host_scoped"
    host: _Host = Field(max_length=260, description="As `api.example.com`, or with `:port`.")
    headers_by_name: dict[_HeaderName, HeaderSecret] = Field(
        alias="headers", min_length=1, description="Sent to the host."
    )

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    def headers(self, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        if self.host.lower() not in (parts.netloc.rpartition("@")[2].lower(), parts.hostname):
            return {}
        return {name: value.get_secret_value() for name, value in self.headers_by_name.items()}

    def secrets(self) -> list[str]:
        values = [value.get_secret_value() for value in self.headers_by_name.values()]
        # What follows a scheme, as in "Bearer ...", is as secret by itself.
        return values + [value.partition(" ")[2] for value in values if " " in value]


class OAuth2Secrets(_Secrets):
    type: Literal["oauth2"] = "oauth2"
    access_token: HeaderSecret = Field(min_length=1, max_length=20_000)
    refresh_token: SecretLine | None = Field(default=None, max_length=20_000)
    token_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")] = "Bearer"

    def headers(self, url: str) -> dict[str, str]:
        scheme = "Bearer" if self.token_type.lower() == "bearer" else self.token_type
        return {"Authorization": f"{scheme} {self.access_token.get_secret_value()}"}

    def secrets(self) -> list[str]:
        tokens = [self.access_token, self.refresh_token]
        return [token.get_secret_value() for token in tokens if token is not None]


Secrets = Annotated[
    ApiKeySecrets | UserPasswordSecrets | HostScopedSecrets | OAuth2Secrets, Field(discriminator="type")
]
_SECRETS: TypeAdapter[Secrets] = TypeAdapter(Secrets)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is known of stored credentials, without what they hold.  Times are aware UTC."""

    id: str
    user_id: str
    provider: str
    type: CredentialsType
    title: str
    #: What a provider was asked for.
    scopes: tuple[str, ...]
    #: Of an access token.
    expires_at: datetime | None
    #: Why they are of no use any more; None while they are.
    problem: str | None
    #: Grows with every change.
    revision: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class UsableCredentials:
    """Credentials as a block gets them.  What they hold shows in no ``repr``, and is struck out of all that the
    block gives out."""

    id: str
    provider: str
    type: CredentialsType
    scopes: tuple[str, ...] = ()
    held: Secrets = field(kw_only=True, repr=False)

    def headers(self, url: str) -> dict[str, str]:
        """Give the headers by which a request to a URL is made with them; none where they are not for it."""
        return self.held.headers(url)


def as_secret_value(one: UsableCredentials) -> dict[str, Any]:
    """Write credentials with what they hold as a JSON value, for another process of this server."""
    return {
        "id": one.id,
        "provider": one.provider,
        "type": one.type,
        "scopes": list(one.scopes),
        "held": written_out(one.held),
    }


def from_secret_value(value: dict[str, Any]) -> UsableCredentials:
    """Read what ``as_secret_value`` wrote."""
    held = parse_secrets(value["held"])
    return UsableCredentials(value["id"], value["provider"], value["type"], tuple(value["scopes"]), held=held)


def written_out(held: Secrets) -> dict[str, Any]:
    """Write secrets as a JSON value, plain: for nobody but the cipher, or another process of this server."""
    return cast(dict[str, Any], _revealed(held.model_dump()))


def parse_secrets(value: Any) -> Secrets:
    """Read what ``written_out`` wrote."""
    return _SECRETS.validate_python(value)


def _revealed(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case dict():
            return {key: _revealed(one) for key, one in cast(dict[str, Any], value).items()}
        case _:
            return value


@dataclass(frozen=True, slots=True)
class CredentialsPin:
    """An input pin that takes credentials.  Empty sets let any through."""

    providers: frozenset[str]
    types: frozenset[str]

    def refusal(self, provider: str, type_: str) -> str | None:
        """Tell what speaks against credentials of this kind; None where nothing does."""
        for word, given, allowed in (("provider", provider, self.providers), ("type", type_, self.types)):
            if allowed and given not in allowed:
                return f"are of the {word} {given}; this pin takes {' or '.join(sorted(allowed))}"
        return None


def credentials_pins(fields: dict[str, FieldInfo]) -> dict[str, CredentialsPin]:
    """Find the pins that take credentials among the fields of a block's input."""
    found: dict[str, CredentialsPin] = {}
    for name, info in fields.items():
        for option in _options(info.annotation):
            if isinstance(option, type) and issubclass(option, CredentialsMetaInput):
                known = cast(type[BaseModel], option).model_fields
                providers = _literals(known["provider"].annotation)
                types_ = _literals(known["type"].annotation)
                found[name] = CredentialsPin(providers, types_)
    return found


def _options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _literals(annotation: Any) -> frozenset[str]:
    return frozenset(get_args(annotation)) if get_origin(annotation) is Literal else frozenset()
