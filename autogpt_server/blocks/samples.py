"""Runs the samples that every block carries: ``test_input`` must give ``test_output``.

Samples see a small world of their own: an empty folder but for ``greeting.txt``, a web server on loopback whose
address stands for ``{server}``, and graphs that all answer with their own inputs.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson

from autogpt_server.errors import BlockError
from autogpt_server.model.block import ERROR_PIN, Block
from autogpt_server.model.credentials import CredentialsMetaInput, UsableCredentials
from autogpt_server.model.file import FileValue

_FEED = """<rss version="2.0"><channel><title>News</title><item><title>One</title><link>http://sample.test/1</link>
<category>a</category><pubDate>Fri, 23 Jun 2023 12:30:00 GMT</pubDate></item></channel></rss>"""


class SampleContext:
    """A BlockContext over one folder, without a server around it."""

    user_id = "00000000-0000-7000-8000-000000000001"
    execution_id = "00000000-0000-7000-8000-000000000002"
    node_execution_id = "00000000-0000-7000-8000-000000000002.0"

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.cancelled = False
        self.logged: list[str] = []
        #: Addresses below these may be reached.
        self.allowed_networks = ["127.0.0.0/8"]

    def get_credentials(self, value: CredentialsMetaInput[Any, Any]) -> UsableCredentials:
        raise BlockError("a sample has no credentials")

    def is_retried(self, error: BaseException) -> bool:
        return False

    def log(self, message: str) -> None:
        self.logged.append(message)

    def read_file(self, path: str) -> bytes:
        try:
            return self._inside(path).read_bytes()
        except OSError as error:
            raise BlockError(f"file {path!r} cannot be opened: {error.strerror}") from None

    def write_file(self, path: str, data: bytes, *, append: bool = False) -> int:
        file = self._inside(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab" if append else "wb") as opened:
            opened.write(data)
        return file.stat().st_size

    def read_stored(self, file: FileValue) -> bytes:
        return self.read_file(file.name)

    def store_file(self, name: str, data: bytes, mime_type: str | None = None) -> FileValue:
        size = self.write_file(name, data)
        fields = {"$file": self.execution_id, "name": name, "mime_type": mime_type or "text/plain", "size": size}
        return FileValue.model_validate(fields)

    def is_address_allowed(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        return any(ip in ipaddress.ip_network(network) for network in self.allowed_networks)

    async def execute_graph(self, graph_id: str, version: int | None, inputs: dict[str, Any]) -> dict[str, list[Any]]:
        return {"echo": [0, inputs]}

    def _inside(self, path: str) -> Path:
        file = (self.folder / path).resolve()
        if not file.is_relative_to(self.folder):
            raise BlockError(f"file path {path!r} leaves the user's folder")
        return file


async def run_samples(block: Block, context: SampleContext) -> list[str]:
    """Run all samples of a block and return what differs from what they promise; nothing when all is well.

    A sample that fails counts as one that yields its message on the ``error`` pin.
    """
    context.write_file("greeting.txt", "Grüß Gott".encode())
    inputs = block.test_input if isinstance(block.test_input, list) else [block.test_input]
    actual: list[tuple[str, Any]] = []
    async with _web_server() as address:
        for data in inputs:
            try:
                actual += await block.execute(_addressed(data, address), context)
            except BlockError as error:
                actual.append((ERROR_PIN, str(error)))
    return _differences(block.test_output, actual)


def _addressed(data: dict[str, Any], address: str) -> dict[str, Any]:
    return {pin: value.replace("{server}", address) if isinstance(value, str) else value for pin, value in data.items()}


def _differences(expected: list[tuple[str, Any]], actual: list[tuple[str, Any]]) -> list[str]:
    found = [
        f"output {number}: expected {wanted!r}, got {got!r}"
        for number, (wanted, got) in enumerate(zip(expected, actual, strict=False))
        if not _is_as_expected(wanted, got)
    ]
    if len(expected) != len(actual):
        found.append(f"expected {len(expected)} outputs, got {len(actual)}: {actual!r:.1000}")
    return found


def _is_as_expected(wanted: tuple[str, Any], got: tuple[str, Any]) -> bool:
    (wanted_pin, wanted_value), (got_pin, got_value) = wanted, got
    if wanted_pin != got_pin:
        return False
    if isinstance(wanted_value, type):
        return isinstance(got_value, cast(type[Any], wanted_value))
    return type(wanted_value) is type(got_value) and wanted_value == got_value


@asynccontextmanager
async def _web_server() -> AsyncGenerator[str]:
    """Serve a feed and an echo on a free port of loopback."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, path, _ = head.split(" ", 2)
    lengths = [line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    body = await reader.readexactly(int(lengths[0]) if lengths else 0)
    if path.startswith("/echo"):
        status, content = "200 OK", orjson.dumps({"method": method, "path": path, "body": body.decode()})
    else:
        status, content = ("200 OK", _FEED.encode()) if path == "/feed.xml" else ("404 Not Found", b"none")
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content)
    await writer.drain()
    writer.close()
