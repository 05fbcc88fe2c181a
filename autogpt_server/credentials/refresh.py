"""Gets new access tokens for old ones, and stores them whatever becomes of whoever wanted them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from autogpt_server.credentials.oauth import OAuth, Refused
from autogpt_server.credentials.providers import ProviderNotFound
from autogpt_server.data.credentials import CredentialRows, Opened
from autogpt_server.errors import BlockError, CredentialsNotFound, InvalidError, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.credentials import Credentials, OAuth2Secrets
from autogpt_server.service.crash_points import crash_point
from autogpt_server.vault.keyring import CannotDecrypt

#: Refreshes at the same time.  They have threads of their own: a provider that hangs holds up nothing else.
_THREADS = 8
#: Seconds that a block waits for one, and that the end of a process does.
_WAIT_SECONDS, _CLOSE_SECONDS = 60.0, 20.0


def _is_away(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, CannotDecrypt)


#: What is tried again for a minute while the database is away, twice a second.
WHILE_AWAY: dict[str, Any] = {
    "retry": retry_if_exception(_is_away),
    "stop": stop_after_delay(60),
    "wait": wait_fixed(0.5),
    "reraise": True,
}


class Refresher:
    """Refreshes credentials of all users.

    Args:
        rows: Where they are.
        oauth: Gives who talks to the providers.
    """

    def __init__(self, rows: CredentialRows, oauth: Callable[[], OAuth]) -> None:
        self._rows, self._oauth = rows, oauth
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="oauth")
        self._running: set[Future[Opened]] = set()

    async def refresh(self, opened: Opened, holder: str) -> Opened:
        """Refresh credentials, which ``holder`` has taken on.  It goes on when this is cancelled: what the provider
        gives must be stored, as the old token may be void.

        Raises:
            BlockError: There is no token that can be used.
        """
        running = self._threads.submit(self._refresh, opened, holder)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        waiting = asyncio.wrap_future(running)
        # Heard, also where nobody waits any more.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                return await asyncio.shield(waiting)
        except TimeoutError:
            raise BlockError(f"{opened.credentials.provider} has not answered for {_WAIT_SECONDS:g} s") from None

    async def close(self) -> None:
        """Let those that are under way end, for a while."""
        await asyncio.to_thread(wait, list(self._running), _CLOSE_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _refresh(self, opened: Opened, holder: str) -> Opened:
        known, held = opened
        assert isinstance(held, OAuth2Secrets)
        try:
            tokens = self._oauth().refresh(known.provider, held, known.scopes)
        except Refused as error:
            self._rows.fail_refresh(known.id, holder, str(error))
            raise BlockError(unusable(known, str(error))) from None
        except (Unavailable, ProviderNotFound, InvalidError) as error:
            self._rows.fail_refresh(known.id, holder, None)
            if is_alive(known):
                # It is good for a moment yet.
                return opened
            raise BlockError(f"{known.title!r} cannot be refreshed: {error}") from None
        crash_point("oauth.refreshed")
        # A database that is away comes back; the old refresh token may not.
        store = Retrying(**WHILE_AWAY)
        if store(self._rows.end_refresh, known.id, known.revision, tokens.held, tokens.expires_at):
            return Opened(replace(known, expires_at=tokens.expires_at), tokens.held)
        # Somebody has connected anew meanwhile, or deleted them.
        with contextlib.suppress(CredentialsNotFound):
            return self._rows.open(known.user_id, known.id)
        raise BlockError(f"{known.title!r} was deleted")


def is_alive(known: Credentials) -> bool:
    """Tell whether an access token has not expired."""
    return known.expires_at is None or known.expires_at > clock.now()


def unusable(known: Credentials, problem: str) -> str:
    """Say why credentials are of no use, and what to do."""
    again = f"`autogpt credentials connect {known.provider} --again {known.id}` connects them again"
    return f"{known.title!r} cannot be used: {problem}; {again}"
