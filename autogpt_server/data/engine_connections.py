"""HTTP/1.1 over the query engine's unix socket, as thin as asyncio allows.

A general HTTP client costs several times the query itself.  What is repeated after a failure is decided in
prisma_client.py; this module only tells whether anything was sent.
"""

from __future__ import annotations

import asyncio
import select
from pathlib import Path
from typing import NamedTuple, cast

#: Requests under way at once; more wait.  Writes wait for the database inside the engine, reads must pass them.
_MAX_CONNECTIONS = 64
#: Seconds to wait for one of the connections.
_WAIT_SECONDS = 30.0
#: Seconds that the engine may take to answer.
_ANSWER_SECONDS = 60.0
_STOPPING = 503


class NothingSent(Exception):
    """The engine got nothing of the request, or refused it unread."""


class AnswerLost(Exception):
    """The request was sent and no answer came: it may or may not have been carried out."""


class EngineConnections:
    """A pool of connections to one engine.  Belongs to one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._is_closed = False

    async def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
        """Send one request and return the body of the answer.

        Args:
            method: HTTP method.
            path: Path on the engine.
            body: Body of the request.
            headers: More header lines, each ending in CRLF.

        Raises:
            NothingSent: It may be sent again, whatever it was.
            AnswerLost: It may be sent again only where doing it twice does no harm.
        """
        head = f"{method} {path} HTTP/1.1\r\nHost: engine\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise NothingSent("all connections to the query engine are busy") from error
        try:
            connection = await self._take()
            try:
                answer = await connection.exchange(head.encode() + body)
            finally:
                self._give_back(connection)
        finally:
            self._free.release()
        if answer.status == _STOPPING:
            raise NothingSent("the query engine is stopping")
        return answer.body

    def close(self) -> None:
        """Close all connections; those in use are closed after their answer."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.close()
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_unix_connection(_Connection, str(self._socket))
        except OSError as error:
            raise NothingSent(f"no query engine answers on {self._socket}") from error
        return connection

    def _give_back(self, connection: _Connection) -> None:
        if connection.is_usable and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.close()


class _Answer(NamedTuple):
    status: int
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection; one request after the other.  Usable for the next one only after a whole answer."""

    def __init__(self) -> None:
        self.is_usable = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[_Answer] | None = None
        self._received = bytearray()
        self._body_start = self._length = 0
        self._poll = select.poll()

    def is_open(self) -> bool:
        """Ask the kernel: the loop may not have noticed yet that the engine ended.

        What is sent into a closed connection counts as lost, and a write would fail without need.
        """
        return self.is_usable and not self._poll.poll(0)

    async def exchange(self, request: bytes) -> _Answer:
        assert self._transport is not None
        self.is_usable = False
        self._received.clear()
        self._length = 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._answer
        except (OSError, TimeoutError) as error:
            raise AnswerLost("the query engine ended, or did not answer in time") from error

    def close(self) -> None:
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it on uvloop, which has transports of its own.
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.is_usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed by the query engine"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._length and not self._read_head():
            return
        if len(self._received) < self._length or self._answer is None or self._answer.done():
            return
        self.is_usable = b"connection: close" not in self._received[: self._body_start].lower()
        body = bytes(memoryview(self._received)[self._body_start : self._length])
        self._answer.set_result(_Answer(int(self._received[9:12]), body))

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._body_start = self._length = end + 4
        for line in bytes(self._received[:end]).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                self._length += int(value)
        return True
