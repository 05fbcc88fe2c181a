"""A keep-alive HTTP connection that costs the client next to nothing, so that the server is what is measured."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

#: Seconds that an answer may stay away.
_TIMEOUT = 120
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class HttpConnection:
    """One connection to one server.  Requests follow each other; none may begin before an answer was read."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), _TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, path: str) -> Any:
        """Return the JSON that a path answers with."""
        return orjson.loads(self.request("GET", path))

    def post(self, path: str, document: Any) -> Any:
        """Send JSON and return the JSON of the answer."""
        return orjson.loads(self.request("POST", path, orjson.dumps(document)))

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the body of the answer.

        Raises:
            RuntimeError: The status is no success.
        """
        self._send(method, path, body)
        length = self._length_of_answer()
        return b"".join(self._chunks()) if length is None else self._take(length)

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the data of server-sent events as soon as each has arrived, until the server ends the stream."""
        self._send("GET", path, b"")
        if self._length_of_answer() is not None:
            raise RuntimeError(f"{path} answered at once instead of with events")
        text = bytearray()
        for chunk in self._chunks():
            text += chunk
            while (end := text.find(b"\n\n")) >= 0:
                for line in bytes(text[:end]).split(b"\n"):
                    if line.startswith(b"data: "):
                        yield orjson.loads(line[6:])
                del text[: end + 2]

    def _send(self, method: str, path: str, body: bytes) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def _length_of_answer(self) -> int | None:
        """Read the head of an answer; None where the body comes in chunks."""
        head = self._take_until(b"\r\n\r\n")
        status = _STATUS.match(head)
        length = _LENGTH.search(head)
        if status is None or status[1][:1] != b"2":
            body = self._take(int(length[1])) if length else b""
            raise RuntimeError(f"{head.splitlines()[0]!r}: {body[:2000]!r}")
        return int(length[1]) if length else None

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._take_until(b"\r\n"), 16):
            yield self._take(size + 2)[:-2]
        self._take(2)

    def _take_until(self, mark: bytes) -> bytes:
        while (end := self._received.find(mark)) < 0:
            self._receive()
        return self._take(end + len(mark))

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _receive(self) -> None:
        data = self._socket.recv(256 * 1024)
        if not data:
            raise RuntimeError("the server closed the connection")
        self._received += data
