"""OAuth2 (RFC 6749): sending a user to a provider, taking what the provider gives, and refreshing it.

A login goes by the authorization code with PKCE (RFC 7636).  Its state is known to whoever began it, good once and for
ten minutes; what is stored of it opens nothing.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import SecretStr

from autogpt_server.credentials.providers import OAuthProvider, ProviderNotFound
from autogpt_server.data.oauth_logins import OAuthLogin, OAuthLogins
from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.credentials import OAuth2Secrets
from autogpt_server.model.jsonvalue import storable_text
from autogpt_server.model.redaction import Redactor

if TYPE_CHECKING:
    from authlib.common.errors import AuthlibBaseError

#: How long a user may take at the provider.
LOGIN_TIME = timedelta(minutes=10)
#: Seconds to connect to a provider, and that it may be silent.
_SECONDS = (5.0, 15.0)
#: Longest life of a token that a provider is believed to mean: ten years.
_MAX_LIFE = 10 * 366 * 86_400
#: Errors of RFC 6749, section 5.2, after which asking again is of no use.
_FINAL = frozenset({"invalid_grant", "unauthorized_client", "invalid_scope"})


class Refused(Exception):
    """A provider said no, for good."""


class Tokens(NamedTuple):
    """What a provider gave."""

    held: OAuth2Secrets
    expires_at: datetime | None
    scopes: tuple[str, ...] | None


class Login(NamedTuple):
    """A login that was begun."""

    authorization_url: str
    expires_at: datetime


class OAuth:
    """Logins and refreshes with all providers.

    Args:
        providers: By name.
        logins: Where logins that were begun are kept.
        callback_url: Where providers send users back to.
    """

    def __init__(self, providers: dict[str, OAuthProvider], logins: OAuthLogins, callback_url: str) -> None:
        self.providers, self._logins, self._callback_url = providers, logins, callback_url

    def provider(self, name: str) -> OAuthProvider:
        """Return a provider.

        Raises:
            ProviderNotFound: There is none of this name.
        """
        provider = self.providers.get(name)
        if provider is None:
            raise ProviderNotFound(name, sorted(self.providers))
        return provider

    def begin(
        self,
        user_id: str,
        name: str,
        title: str,
        scopes: tuple[str, ...] | None,
        credentials_id: str | None = None,
    ) -> Login:
        """Begin a login, and return the address at which the user goes on.  Blocking.

        Args:
            user_id: Who logs in.
            name: Of the provider.
            title: Of the credentials that come of it.
            scopes: What to ask for; None for what the provider's entry says.
            credentials_id: Of the credentials that get new tokens, instead of new ones.

        Raises:
            ProviderNotFound: There is none of this name.
        """
        provider = self.provider(name)
        asked = provider.scopes if scopes is None else scopes
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        expires_at = clock.now() + LOGIN_TIME
        self._logins.add(OAuthLogin(_hash(state), user_id, name, title, asked, expires_at, credentials_id), verifier)
        url, _ = _client(provider, self._callback_url, asked).create_authorization_url(
            provider.authorize_url, state=state, code_verifier=verifier, **provider.authorize_parameters
        )
        return Login(cast(str, url), expires_at)

    def take(self, state: str) -> tuple[OAuthLogin, str]:
        """Take up a login by what the provider sent back, once, with its verifier.  Blocking.

        Raises:
            InvalidError: It is unknown, used up, or too late.
        """
        taken = self._logins.take(_hash(state))
        if taken is None or taken[0].expires_at <= clock.now():
            fix = "begin the login again; each is good once, and for ten minutes"
            raise InvalidError("The login cannot go on.", [Problem("state", "belongs to no login", fix)])
        return taken

    def exchange(self, login: OAuthLogin, verifier: str, code: str) -> Tokens:
        """Get the tokens for the code that a provider sent a user back with.  Blocking.

        Raises:
            InvalidError: The provider refuses.
            Unavailable: It does not answer.
        """
        from authlib.common.errors import AuthlibBaseError
        from requests import RequestException

        provider = self.provider(login.provider)
        with _client(provider, self._callback_url, login.scopes) as client:
            try:
                token = client.fetch_token(
                    provider.token_url, code=code, code_verifier=verifier, timeout=_SECONDS, allow_redirects=False
                )
                return _tokens(token, None)
            except AuthlibBaseError as error:
                said = _said(error, provider, [code, verifier])
            except (RequestException, ArithmeticError, ValueError, KeyError, TypeError) as error:
                raise _silent(login.provider, error) from None
        raise InvalidError("The provider refused the login.", [Problem("code", said, "begin the login again")])

    def refresh(self, name: str, held: OAuth2Secrets, scopes: tuple[str, ...]) -> Tokens:
        """Get new tokens for old ones.  Blocking.

        Raises:
            Refused: The provider will give none any more.
            ProviderNotFound: The provider is not there any more.
            Unavailable: It does not answer.
        """
        from authlib.common.errors import AuthlibBaseError
        from requests import RequestException

        provider = self.provider(name)
        if held.refresh_token is None:
            raise Refused("the access token has expired, and the provider gave none to refresh it with")
        old = held.refresh_token.get_secret_value()
        with _client(provider, self._callback_url, scopes) as client:
            try:
                token = client.refresh_token(
                    provider.token_url, refresh_token=old, timeout=_SECONDS, allow_redirects=False
                )
                return _tokens(token, held)
            except AuthlibBaseError as error:
                said = _said(error, provider, held.secrets())
                if error.error in _FINAL:
                    raise Refused(f"{name} refuses to refresh the access token ({said})") from None
                raise Unavailable(f"{name} did not refresh the access token ({said})") from None
            except (RequestException, ArithmeticError, ValueError, KeyError, TypeError) as error:
                raise _silent(name, error) from None


def _client(provider: OAuthProvider, callback_url: str, scopes: tuple[str, ...]) -> Any:
    # Here: most servers never need it, and it takes a while to import.
    from authlib.integrations.requests_client import OAuth2Session

    secret = None if provider.client_secret is None else provider.client_secret.get_secret_value()
    client: Any = OAuth2Session(
        client_id=provider.client_id,
        client_secret=secret,
        token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
        scope=" ".join(scopes) or None,
        redirect_uri=callback_url,
        code_challenge_method="S256",
    )
    # Neither proxies nor passwords of the machine.
    client.trust_env = False
    return client


def _tokens(token: dict[str, Any], before: OAuth2Secrets | None) -> Tokens:
    """Read what a provider answered (RFC 6749, section 5.1)."""
    access = token.get("access_token")
    if not isinstance(access, str) or not access:
        raise ValueError("it gave no access token")
    new_refresh = token.get("refresh_token")
    refresh = SecretStr(new_refresh) if isinstance(new_refresh, str) and new_refresh else None
    if refresh is None and before is not None:
        refresh = before.refresh_token
    life = token.get("expires_in")
    life = max(0.0, min(float(life), _MAX_LIFE)) if isinstance(life, int | float | str) and life else None
    expires_at = None if life is None else clock.now() + timedelta(seconds=life)
    granted = token.get("scope")
    granted = granted if isinstance(granted, str) and granted.isprintable() else None
    held = OAuth2Secrets(
        access_token=SecretStr(access), refresh_token=refresh, token_type=str(token.get("token_type") or "Bearer")
    )
    return Tokens(held, expires_at, None if granted is None else tuple(granted.split()))


def _said(error: AuthlibBaseError, provider: OAuthProvider, sent: list[str]) -> str:
    """Give the provider's words without anything that was sent to it."""
    if provider.client_secret is not None:
        secret = provider.client_secret.get_secret_value()
        sent = [*sent, secret, base64.b64encode(f"{provider.client_id}:{secret}".encode()).decode()]
    text = ": ".join(str(part) for part in (error.error, error.description) if part)
    return storable_text(Redactor(sent).text(text))[:300] or "no reason given"


def _silent(name: str, error: Exception) -> Unavailable:
    # Not its words: they may hold what was sent or answered.
    return Unavailable(f"the OAuth2 provider {name} gave no answer that can be used ({type(error).__name__})")


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()
