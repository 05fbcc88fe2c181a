"""Who sends a request: looks keys up, and remembers for a moment what it found."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from autogpt_server.accounts.secrets import KeyText, is_secret, parse_key_text
from autogpt_server.data.api_keys import ApiKeys, StoredKey
from autogpt_server.data.database import Database
from autogpt_server.errors import NotAuthenticated, Unavailable
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.principal import Principal, Role

#: Seconds for which what was found holds: so long a key works after it was revoked.
_FRESH_SECONDS = 1.0
#: The same while the database is away.
_OUTAGE_SECONDS = 60.0
#: Seconds to wait for the database to tell whether there are keys.
_PATIENCE = 2.0
#: Keys that are remembered.
_REMEMBERED = 10_000
#: Hashes that are worked out at the same time.
_AT_ONCE = 2
#: The time of the last use is noted as often as this.
_NOTED = timedelta(minutes=1)

#: Whoever sends a request to a server without keys.
LOCAL_OWNER = Principal(DEFAULT_USER_ID, Role.OWNER, Role.OWNER.scopes)

NO_KEY = "This server needs a key: send it as `Authorization: Bearer agk_...`; `autogpt key add` makes one."
BAD_KEY = "The key is not known, or it was revoked or has expired; `autogpt key add` makes another one."


@dataclass(slots=True)
class _Known:
    """A key whose secret was compared with its hash."""

    principal: Principal
    hash: str
    checked_at: float


class Verifier:
    """Tells principals from keys.  For one event loop.

    Args:
        database: Where keys are.
        is_always_needed: Whether requests need a key even before the first one was made.
    """

    def __init__(self, database: Database, *, is_always_needed: bool) -> None:
        self._keys = ApiKeys(database)
        self._is_needed, self._looked_at = is_always_needed, float("-inf")
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._hashing = asyncio.Semaphore(_AT_ONCE)
        # What is remembered must be of no use to whoever reads this process's memory.
        self._salt = secrets.token_bytes(32)

    async def anonymous(self) -> Principal:
        """Give the principal of a request without a key.

        Raises:
            NotAuthenticated: It needs one.
        """
        # Once there was a key there is one for ever, so this is asked again only before.
        if not self._is_needed and time.monotonic() - self._looked_at >= _FRESH_SECONDS:
            await self._look_for_keys()
        if self._is_needed:
            raise NotAuthenticated(NO_KEY)
        return LOCAL_OWNER

    def remembered(self, text: str) -> Principal | None:
        """Give the principal of a key that was looked at a moment ago, without waiting for anything."""
        known = self._known.get(self._digest(text))
        return known.principal if known is not None and _is_fresh(known) else None

    async def principal(self, text: str) -> Principal:
        """Give the principal of a key.

        Raises:
            NotAuthenticated: It is not known, or good no more.
        """
        digest = self._digest(text)
        known = self._known.get(digest)
        if known is not None and _is_fresh(known):
            return known.principal
        parsed = parse_key_text(text)
        try:
            stored = None if parsed is None else await asyncio.to_thread(self._find, parsed.prefix)
        except Unavailable:
            if known is not None and time.monotonic() - known.checked_at < _OUTAGE_SECONDS:
                # Whoever asks how the server is must hear that its database is away.
                return known.principal
            raise
        if parsed is None or stored is None or not await self._is_right(parsed, stored, known):
            self._known.pop(digest, None)
            raise NotAuthenticated(BAD_KEY)
        key = stored.key
        principal = Principal.of(key.user_id, stored.role, key.scopes, key.id)
        self._known[digest] = _Known(principal, stored.hash, time.monotonic())
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return principal

    async def _look_for_keys(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                self._is_needed = await asyncio.to_thread(self._keys.any_made)
        except (Unavailable, TimeoutError) as error:
            if self._looked_at == float("-inf"):
                raise Unavailable("whether a key is needed is not known: the database does not answer") from error
            # There was none a moment ago, and while the database is away nobody makes one.
            return
        self._looked_at = time.monotonic()

    def _find(self, prefix: str) -> StoredKey | None:
        stored, now = self._keys.find(prefix), clock.now()
        if stored is None or stored.key.is_setup or stored.is_user_disabled or not stored.key.is_valid(now):
            return None
        used = stored.key.last_used_at
        if used is None or now - used >= _NOTED:
            # Else the next request notes it.
            with contextlib.suppress(Unavailable):
                self._keys.note_use(stored.key.id, now)
        return stored

    async def _is_right(self, parsed: KeyText, stored: StoredKey, known: _Known | None) -> bool:
        if known is not None and known.hash == stored.hash:
            return True
        async with self._hashing:
            return await asyncio.to_thread(is_secret, parsed.secret, stored.hash)

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=self._salt, digest_size=32).digest()


def _is_fresh(known: _Known) -> bool:
    return time.monotonic() - known.checked_at < _FRESH_SECONDS
