"""Gets new access tokens for old ones, and stores them whatever becomes of whoever wanted them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

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
#: Seconds for which storing is tried while the database is away, and between two tries.
_AWAY_SECONDS, _RETRY_SECONDS = 60.0, 0.5


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
        waiting = [asyncio.wrap_future(one) for one in list(self._running)]
        if waiting:
            await asyncio.wait(waiting, timeout=_CLOSE_SECONDS)
            for one in waiting:
                if one.done() and not one.cancelled():
                    one.exception()
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
        if self._store(known, tokens.held, tokens.expires_at):
            return Opened(replace(known, expires_at=tokens.expires_at), tokens.held)
        # Somebody has connected anew meanwhile, or deleted them.
        with contextlib.suppress(CredentialsNotFound):
            return self._rows.open(known.user_id, known.id)
        raise BlockError(f"{known.title!r} was deleted")

    def _store(self, known: Credentials, held: OAuth2Secrets, expires_at: datetime | None) -> bool:
        """Store new tokens.  A database that is away comes back; the old refresh token may not."""
        deadline = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                return self._rows.end_refresh(known.id, known.revision, held, expires_at)
            except CannotDecrypt:
                raise
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)


def is_alive(known: Credentials) -> bool:
    """Tell whether an access token has not expired."""
    return known.expires_at is None or known.expires_at > clock.now()


def unusable(known: Credentials, problem: str) -> str:
    """Say why credentials are of no use, and what to do."""
    again = f"`autogpt credentials connect {known.provider} --again {known.id}` connects them again"
    return f"{known.title!r} cannot be used: {problem}; {again}"
