"""Kept-open HTTP connections to one service, for threads and for event loops, that heal themselves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

import httpx

#: Connection failures, and seconds since the last time, after which all connections are dropped: the name of the
#: service may lead elsewhere by now.
_FAILURES, _SECONDS_BETWEEN_RESETS = 3, 30.0

_LIMITS = httpx.Limits(max_connections=500, max_keepalive_connections=200, keepalive_expiry=30)


class Connections:
    """The httpx clients for one service: one for all threads, one per event loop."""

    def __init__(
        self, url: str, headers: dict[str, str], timeout: httpx.Timeout, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._headers, self._timeout, self._clock = url, headers, timeout, clock
        self._lock = threading.Lock()
        self._sync: httpx.Client | None = None
        self._async: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._failures = 0
        self._reset_at = clock()

    def sync(self) -> httpx.Client:
        with self._lock:
            if self._sync is None:
                # Services are plain HTTP, so no certificates are loaded; proxies of the environment are for others.
                self._sync = httpx.Client(
                    base_url=self._url,
                    headers=self._headers,
                    timeout=self._timeout,
                    limits=_LIMITS,
                    verify=False,
                    trust_env=False,
                )
            return self._sync

    def for_this_loop(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._async.get(loop)
            if client is None:
                client = self._async[loop] = httpx.AsyncClient(
                    base_url=self._url,
                    headers=self._headers,
                    timeout=self._timeout,
                    limits=_LIMITS,
                    verify=False,
                    trust_env=False,
                )
            return client

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        """Count a connection failure; drops all connections when there have been several and the last drop is past."""
        with self._lock:
            self._failures += 1
            now = self._clock()
            if self._failures >= _FAILURES and now - self._reset_at > _SECONDS_BETWEEN_RESETS:
                self._failures, self._reset_at = 0, now
                # Not closed here: calls of other threads may still be on their way in them.
                self._sync = None
                self._async.clear()

    def close(self) -> None:
        """Close what threads use."""
        with self._lock:
            client, self._sync = self._sync, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close what threads and this event loop use."""
        self.close()
        with self._lock:
            client = self._async.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
