"""The OAuth2 providers that whoever runs the server has registered it with: one JSON file names them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from autogpt_server.errors import InvalidError, NotFoundError, Problem
from autogpt_server.model.misfits import FIX, misfits

#: Hosts that are reached without leaving this machine.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LARGEST_FILE = 1024 * 1024


class ProviderNotFound(NotFoundError):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(name)
        self.name, self.known = name, known

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none; AUTOGPT_OAUTH_PROVIDERS_FILE names a file with them"
        return f"OAuth2 provider {self.name!r} not found. There are: {known}."


def _is_safe(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _LOOPBACK)):
        message = "can be read by others on the way"
        raise PydanticCustomError("url", message, {FIX: "use https://, or http:// on this machine"})
    return url


_Url = Annotated[str, AfterValidator(_is_safe)]


class OAuthProvider(BaseModel):
    """One provider, as the file describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: str = Field(min_length=1)
    #: None for clients that can keep no secret; they go by PKCE (RFC 7636) alone.
    client_secret: SecretStr | None = None
    authorize_url: _Url
    token_url: _Url
    #: What is asked for where a user does not say.
    scopes: tuple[str, ...] = ()
    #: More parameters of the address to which users are sent, such as ``access_type``.
    authorize_parameters: dict[str, str] = {}


def load_providers(path: Path | None) -> dict[str, OAuthProvider]:
    """Read the providers by name; none where no file is named.

    Raises:
        InvalidError: The file cannot be read, or is no such file; says where.
    """
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            is_open = bool(os.fstat(file.fileno()).st_mode & 0o077)
            text = file.read(_LARGEST_FILE + 1)
        document = json.loads(text if len(text) <= _LARGEST_FILE else b"")
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object of providers by name")
    except (OSError, ValueError) as error:
        raise _bad(path, [Problem(str(path), str(error), "write {NAME: {client_id, authorize_url, ...}}")]) from None
    providers: dict[str, OAuthProvider] = {}
    problems: list[Problem] = []
    for name, described in cast(dict[str, Any], document).items():
        try:
            providers[name] = OAuthProvider.model_validate(described)
        except ValidationError as error:
            problems += misfits(error.errors(include_url=False), prefix=name, model=OAuthProvider, is_secret=True)
    if is_open and any(one.client_secret is not None for one in providers.values()):
        problems.append(Problem(str(path), "can be read by others", f"chmod 600 {path}"))
    if problems:
        raise _bad(path, problems)
    return providers


def _bad(path: Path, problems: list[Problem]) -> InvalidError:
    return InvalidError(f"The OAuth2 providers in {path} cannot be used.", problems)
