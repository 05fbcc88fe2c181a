"""Outgoing web requests: to public addresses only, and bounded in time, size and redirects.

The address that was checked is the address that is connected to, so a name that changes its answer between the
two gains nothing.  Host header, certificate check and SNI keep the name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import httpx

from autogpt_server.blocks.addresses import check_addresses
from autogpt_server.errors import BlockError, BlockTimeout
from autogpt_server.model import clock
from autogpt_server.model.credentials import UsableCredentials

#: Asks for all addresses of a host.
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: Gives the headers that go along to a URL besides those of the request.
HeadersFor = Callable[[httpx.URL], dict[str, str]]

_MAX_REDIRECTS = 5
_TOO_MANY_REQUESTS, _UNAVAILABLE = 429, 503
#: Longest wait that a server is believed to mean: a day.
_MAX_RETRY_AFTER = 86_400.0
#: Seconds to connect to one address.
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class WebRequest:
    """What to ask for.  ``timeout`` in seconds bounds the whole of it, ``max_bytes`` the unpacked answer."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    #: Arguments of httpx that make the body: content, data, files or json.
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    timeout: float = 30
    max_bytes: int = 10 * 1024 * 1024
    #: Go along to where ``url`` is, and to no other place that a redirect leads to.
    credentials: UsableCredentials | None = None


@dataclass(frozen=True, slots=True)
class WebResponse:
    status: int
    content: bytes
    charset: str | None
    #: How long the server asks to be left alone, when it is too busy.
    retry_after_seconds: float | None = None

    @property
    def is_busy_or_broken(self) -> bool:
        """Whether the same request may well be answered another time: too many requests, or the server's own fault."""
        return self.status == _TOO_MANY_REQUESTS or self.status // 100 == 5

    @property
    def text(self) -> str:
        """The content as text; what cannot be read becomes U+FFFD."""
        try:
            return self.content.decode(self.charset or "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")


async def resolve_host(host: str, port: int) -> list[str]:
    """Ask the system for all addresses of a host."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


async def fetch(
    request: WebRequest, is_allowed: Callable[[str], bool], *, resolve: Resolve = resolve_host
) -> WebResponse:
    """Send a request and read the whole answer.

    Args:
        request: What to ask for.
        is_allowed: Tells of an IP address whether it may be reached although it is not public.
        resolve: Asks for the addresses of a host.

    Raises:
        BlockTimeout: The answer is too late.
        BlockError: The address is refused, the server does not answer, or the answer is too large.
    """
    limit = asyncio.timeout(request.timeout)
    try:
        async with limit:
            return await _fetch(request, PinnedTransport(is_allowed, resolve, _authorizing(request)))
    except TimeoutError:
        if not limit.expired():
            raise
        raise BlockTimeout(f"{request.url} took longer than {request.timeout:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise BlockError(f"{request.url}: {error or type(error).__name__}") from None


def parse_retry_after(text: str, now: datetime) -> float | None:
    """Read the header Retry-After, which gives seconds or a date.  Returns seconds, or None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # A date without a zone is in UTC, as the header's definition has it.
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), _MAX_RETRY_AFTER)


async def _fetch(request: WebRequest, transport: httpx.AsyncBaseTransport) -> WebResponse:
    client = httpx.AsyncClient(
        transport=transport,
        follow_redirects=True,
        max_redirects=_MAX_REDIRECTS,
        timeout=httpx.Timeout(request.timeout, connect=_CONNECT_SECONDS),
        headers={"User-Agent": "autogpt-server", "Accept-Encoding": "gzip, deflate"},
        # Neither proxies nor passwords of the machine.
        trust_env=False,
    )
    async with client:
        async with client.stream(request.method, request.url, headers=request.headers, **request.body) as response:
            content = b"".join([chunk async for chunk in _unpacked(response, request.max_bytes)])
            is_busy = response.status_code in (_TOO_MANY_REQUESTS, _UNAVAILABLE)
            retry_after = parse_retry_after(response.headers.get("retry-after", ""), clock.now())
            return WebResponse(
                response.status_code, content, response.charset_encoding, retry_after if is_busy else None
            )


async def _unpacked(response: httpx.Response, max_bytes: int) -> AsyncIterator[bytes]:
    """Unpack an answer piece by piece.  httpx would unpack a whole piece, however large, before one could look."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise BlockError(f"the answer is packed with {encoding!r}, which was not asked for")
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding not in ("", "identity") else None
    left = max_bytes
    async for packed in response.aiter_raw():
        try:
            chunk = packed if inflate is None else inflate.decompress(packed, left + 1)
        except zlib.error as error:
            raise BlockError(f"the answer cannot be unpacked: {error}") from None
        left -= len(chunk)
        if left < 0:
            raise BlockError(f"the answer has more than {max_bytes:,} bytes")
        yield chunk


class PinnedTransport(httpx.AsyncBaseTransport):
    """Resolves the host of each request, redirects included, and connects to a checked address."""

    def __init__(self, is_allowed: Callable[[str], bool], resolve: Resolve, headers_for: HeadersFor) -> None:
        self._is_allowed, self._resolve, self._headers_for = is_allowed, resolve, headers_for
        self._inner = httpx.AsyncHTTPTransport(verify=_certificates(), trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to the first address that takes the connection."""
        if request.url.scheme not in ("http", "https"):
            raise BlockError(f"{request.url.scheme!r} is no scheme of the web; use http or https")
        # On what is sent alone: a redirect takes over the headers of the request before it.
        headers = httpx.Headers(request.headers)
        headers.update(self._headers_for(request.url))
        host = request.url.host
        addresses = await self._addresses(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        for address in addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_pinned(request, headers, host, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._inner.handle_async_request(_pinned(request, headers, host, addresses[-1]))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise BlockError(f"the host {host!r} cannot be found: {error.strerror or error}") from None
        if not addresses:
            raise BlockError(f"the host {host!r} has no address")
        check_addresses(host, addresses, self._is_allowed)
        return addresses


def _authorizing(request: WebRequest) -> HeadersFor:
    """Find out which headers credentials put on a request, and where they may go."""
    credentials, first = request.credentials, httpx.URL(request.url)
    if credentials is None:
        return lambda _: {}
    headers = credentials.headers(request.url)
    if not headers:
        raise BlockError(f"the credentials are not for {first.host}; host-scoped ones go to their own host alone")
    return lambda url: headers if _origin(url) == _origin(first) else {}


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _pinned(request: httpx.Request, headers: httpx.Headers, host: str, address: str) -> httpx.Request:
    """The same request, addressed by number.  Its headers already name the host."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


@cache
def _certificates() -> ssl.SSLContext:
    """Loaded once: it takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)
