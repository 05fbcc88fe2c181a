"""Users' credentials: kept, changed, checked where an execution shall use them, and opened for a block that runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from pydantic import ValidationError
from tenacity import AsyncRetrying

from autogpt_server.credentials.oauth import Login, OAuth
from autogpt_server.credentials.providers import load_providers
from autogpt_server.credentials.refresh import WHILE_AWAY, Refresher, is_alive, unusable
from autogpt_server.data.credentials import CredentialRows, Opened
from autogpt_server.data.database import Database
from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.oauth_logins import OAuthLogins
from autogpt_server.data.users import Users
from autogpt_server.errors import BlockError, CredentialsNotFound, InvalidError, Problem, ServerError
from autogpt_server.model import clock
from autogpt_server.model.credentials import (
    Credentials,
    CredentialsMetaInput,
    CredentialsPin,
    Secrets,
    UsableCredentials,
)
from autogpt_server.model.ids import canonical_id, is_uuid, new_id
from autogpt_server.model.principal import Scope
from autogpt_server.model.suggestions import as_path
from autogpt_server.service.listen import is_loopback
from autogpt_server.settings import Settings
from autogpt_server.vault.keyring import Keyring

#: An access token that expires sooner is refreshed before it is used.
_MARGIN = timedelta(seconds=60)
#: How long one who refreshes has before somebody else may try; longer than a provider may take.
_LEASE = timedelta(seconds=30)
#: Seconds that a block waits until somebody else has refreshed, and between two looks.
_WAIT_SECONDS, _LOOK_SECONDS = 40.0, 0.1
_MAX_TITLE = 200
_MAX_PROVIDER = 100


class CredentialStore:
    """Credentials of all users.

    Args:
        settings: Of the server.
        database: Where the rows are.
        keyring: Under whose keys they are; by default those of the settings.
    """

    def __init__(self, settings: Settings, database: Database, keyring: Keyring | None = None) -> None:
        self._settings = settings
        self._keyring = keyring or open_keyring(settings, database)
        self.rows = CredentialRows(database, self._keyring)
        self._logins, self._users = OAuthLogins(database, self._keyring), Users(database)
        self._oauth: OAuth | None = None
        self._refresher = Refresher(self.rows, lambda: self.oauth)

    async def close(self) -> None:
        """Let refreshes that are under way end, for a while."""
        await self._refresher.close()

    @property
    def oauth(self) -> OAuth:
        """Logins and refreshes; the file of the providers is read when it is first needed.

        Raises:
            InvalidError: The file is wrong.
        """
        if self._oauth is None:
            providers = load_providers(self._settings.oauth_providers_file)
            self._oauth = OAuth(providers, self._logins, callback_url(self._settings))
        return self._oauth

    def add(
        self,
        user_id: str,
        provider: str,
        title: str,
        held: Secrets,
        *,
        scopes: tuple[str, ...] = (),
        expires_at: datetime | None = None,
    ) -> Credentials:
        """Keep new credentials.  Blocking.

        Raises:
            InvalidError: Provider or title are none; names the field.
        """
        _check("provider", provider, _MAX_PROVIDER, "name the service, as github")
        _check("title", title, _MAX_TITLE, "say in a few words which these are")
        now = clock.from_ms(clock.now_ms())
        credentials = Credentials(new_id(), user_id, provider, held.type, title, scopes, expires_at, None, 1, now, now)
        self.rows.add(credentials, held)
        return credentials

    def edit(self, user_id: str, id_: str, title: str | None, held: Secrets | None) -> Credentials:
        """Give another title, or replace what they hold.  Blocking.

        Raises:
            CredentialsNotFound: Unknown, or another user's.
            InvalidError: The title is none, or they would become of another type.
        """
        if title is not None:
            _check("title", title, _MAX_TITLE, "say in a few words which these are")
        before = self.rows.get(user_id, id_)
        if held is not None and (held.type != before.type or held.type == "oauth2"):
            fix = "connect again" if before.type == "oauth2" else f"give secrets of the type {before.type}"
            raise InvalidError("The credentials were not changed.", [Problem("secrets", "are of another type", fix)])
        return self.rows.edit(user_id, id_, title, held)

    def begin_login(
        self,
        user_id: str,
        provider: str,
        title: str | None,
        scopes: tuple[str, ...] | None,
        credentials_id: str | None = None,
    ) -> Login:
        """Begin to connect with a provider.  Blocking.

        Args:
            user_id: Who connects.
            provider: With which.
            title: What to call what comes of it; by default the provider.
            scopes: What to ask for; by default what the provider's entry says.
            credentials_id: Of credentials of that provider which get new tokens, instead of new ones.

        Raises:
            ProviderNotFound: There is none of this name.
            CredentialsNotFound: There are none of this id and provider.
            InvalidError: The title is none.
        """
        title = provider if title is None else title
        _check("title", title, _MAX_TITLE, "say in a few words which these are")
        oauth = self.oauth
        oauth.provider(provider)
        if self._settings.public_url is None and not is_loopback(self._settings.host):
            fix = "set it to the address at which browsers reach this server"
            raise InvalidError("The login cannot begin.", [Problem("AUTOGPT_PUBLIC_URL", "is not set", fix)])
        if credentials_id is not None:
            known = self.rows.get(user_id, credentials_id)
            if (known.provider, known.type) != (provider, "oauth2"):
                raise CredentialsNotFound(credentials_id)
            scopes = known.scopes if scopes is None else scopes
        return oauth.begin(user_id, provider, title, scopes, credentials_id)

    async def finish_login(self, state: str, code: str) -> Credentials:
        """Keep what a provider gives for the code it sent a user back with.

        Raises:
            InvalidError: The login is over, or the provider refuses.
            Unavailable: The provider does not answer.
        """
        login, verifier = await asyncio.to_thread(self.oauth.take, state)
        user = await asyncio.to_thread(self._users.get, login.user_id)
        if user.disabled_at is not None or Scope.WRITE not in user.role.scopes:
            problem = Problem("state", "belongs to a user who may not keep credentials any more", "ask an owner")
            raise InvalidError("The login cannot go on.", [problem])
        tokens = await asyncio.to_thread(self.oauth.exchange, login, verifier, code)
        scopes = login.scopes if tokens.scopes is None else tokens.scopes
        if login.credentials_id is not None:
            place = login.user_id, login.credentials_id, login.provider
            return await asyncio.to_thread(self.rows.reconnect, *place, tokens.held, scopes, tokens.expires_at)
        return await asyncio.to_thread(
            lambda: self.add(
                login.user_id, login.provider, login.title, tokens.held, scopes=scopes, expires_at=tokens.expires_at
            )
        )

    def check(self, user_id: str, meant: Mapping[str, tuple[Any, CredentialsPin]]) -> list[Problem]:
        """Tell what is wrong with values that are meant for pins that take credentials.  Blocking.

        Args:
            user_id: Whose they must be.
            meant: By the place of a value: it, and the pin that will get it.
        """
        problems: list[Problem] = []
        wanted: dict[str, tuple[CredentialsMetaInput, CredentialsPin]] = {}
        for path, (value, pin) in meant.items():
            try:
                fields = set(cast(dict[str, Any], value) if isinstance(value, dict) else ())
                if beyond := sorted(fields - set(CredentialsMetaInput.model_fields)):
                    # It would be stored as it is, and may well be the secret itself.
                    fix = "leave it out; secrets are kept by `autogpt credentials add`"
                    problems.append(Problem(f"{path}.{as_path(beyond[0])}", "is unknown", fix))
                    continue
                wanted[path] = CredentialsMetaInput.model_validate(value), pin
            except (ValidationError, TypeError):
                fix = "give {id, provider, type}, as `autogpt credentials list --json` shows them"
                problems.append(Problem(path, "must say which credentials to use", fix))
        ids = [canonical_id(meta.id) for meta, _ in wanted.values() if is_uuid(meta.id)]
        known = {one.id: one for one in self.rows.find(user_id, ids)} if ids else {}
        for path, (meta, pin) in wanted.items():
            refusal = _refusal(known.get(canonical_id(meta.id)), meta, pin)
            if refusal is not None:
                problems.append(Problem(path, refusal, "`autogpt credentials list` shows yours"))
        return problems

    async def open(self, user_id: str, value: Any, pin: CredentialsPin) -> UsableCredentials:
        """Open credentials for a block, refreshed where they soon expire.

        Args:
            user_id: Whose they must be.
            value: That the pin received.
            pin: Which it is.

        Raises:
            BlockError: They are unknown, another user's, not for this pin, or of no use any more.
        """
        try:
            meta = CredentialsMetaInput.model_validate(value)
        except ValidationError:
            raise BlockError("must say which credentials to use, as {id, provider, type}") from None
        try:
            if not is_uuid(meta.id):
                raise CredentialsNotFound(meta.id[:100])
            return await self._open(user_id, meta, pin)
        except BlockError:
            raise
        except ServerError as error:
            raise BlockError(str(error)) from None

    async def _open(self, user_id: str, meta: CredentialsMetaInput, pin: CredentialsPin) -> UsableCredentials:
        id_, deadline = canonical_id(meta.id), time.monotonic() + _WAIT_SECONDS
        revision: int | None = None
        patient = AsyncRetrying(**WHILE_AWAY)
        while True:
            opened: Opened = await patient(asyncio.to_thread, self.rows.open, user_id, id_)
            known = opened.credentials
            refusal = _refusal(known, meta, pin)
            if refusal is not None:
                raise BlockError(refusal)
            if known.problem is not None:
                raise BlockError(unusable(known, known.problem))
            if known.expires_at is None or known.expires_at - clock.now() > _MARGIN:
                return _usable(opened)
            if revision not in (None, known.revision) and is_alive(known):
                # Somebody has refreshed it while this one waited; its life is short.
                return _usable(opened)
            revision, holder, now = known.revision, new_id(), clock.now()
            if await asyncio.to_thread(self.rows.begin_refresh, id_, revision, holder, now, now + _LEASE):
                return _usable(await self._refresher.refresh(opened, holder))
            if time.monotonic() > deadline:
                if is_alive(known):
                    return _usable(opened)
                raise BlockError(f"{known.title!r} is being refreshed, and that takes too long")
            await asyncio.sleep(_LOOK_SECONDS)


def callback_url(settings: Settings) -> str:
    """Where providers send users back to."""
    base = settings.public_url or f"http://{settings.host}:{settings.port}"
    return f"{base.rstrip('/')}/api/credentials/oauth/callback"


def _refusal(known: Credentials | None, meta: CredentialsMetaInput, pin: CredentialsPin) -> str | None:
    if known is None:
        return f"there are no credentials {meta.id[:100]!r} of this user"
    if (meta.provider, meta.type) != (known.provider, known.type):
        return f"says {meta.provider[:100]}, {meta.type}; these credentials are {known.provider}, {known.type}"
    return pin.refusal(known.provider, known.type)


def _usable(opened: Opened) -> UsableCredentials:
    known = opened.credentials
    return UsableCredentials(known.id, known.provider, known.type, known.scopes, held=opened.held)


def _check(field: str, text: str, most: int, fix: str) -> None:
    if not 0 < len(text) <= most or not text.isprintable():
        message = f"has no or more than {most} characters, or some that do not print"
        raise InvalidError("The credentials were refused.", [Problem(field, message, fix)])
