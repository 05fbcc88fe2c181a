"""Posts empty objects over several connections as fast as answers come, in a process of its own.

python -m benchmarks.load_client ADDRESS PATH CONNECTIONS SECONDS
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.figures import percentile
from benchmarks.server import ROOT

#: Seconds beyond its own time after which a client counts as hung.
_LIMIT_SECONDS = 60
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(frozen=True)
class Load:
    """What was answered, the 95th percentile of how long that took, and what the client itself cost."""

    requests: int
    seconds: float
    late_ms: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_share(self) -> float:
        return self.cpu_seconds / self.seconds


def run_load(address: str, path: str, connections: int, seconds: float) -> Load:
    """Run this module as a process and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.load_client", address, path, str(connections), str(seconds)]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=seconds + _LIMIT_SECONDS)
    return Load(**json.loads(result.stdout))


class _Client(asyncio.Protocol):
    """One connection: the next request goes out when an answer is complete."""

    def __init__(self, request: bytes, ends_at: float) -> None:
        self.times: list[float] = []
        self.closed = asyncio.get_running_loop().create_future()
        self._request, self._ends_at = request, ends_at
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(_END_OF_HEAD)
        if head < 0:
            return
        length = self._received.index(_LENGTH) + len(_LENGTH)
        size = int(self._received[length : self._received.index(b"\r", length)])
        if len(self._received) < head + len(_END_OF_HEAD) + size:
            return
        if self._received[9:10] != b"2":
            self.closed.set_exception(RuntimeError(self._received.decode()))
            return
        self._received = b""
        now = time.perf_counter()
        self.times.append(now - self._sent_at)
        if now < self._ends_at:
            self._send()
        else:
            self.closed.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_exception(exc or RuntimeError("the server closed the connection"))

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


async def _post(address: str, path: str, connections: int, seconds: float) -> Load:
    parts = urlsplit(address)
    request = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    loop = asyncio.get_running_loop()
    started, cpu = time.perf_counter(), time.process_time()
    clients = [_Client(request, started + seconds) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, parts.hostname or "", parts.port or 80)
    await asyncio.gather(*(client.closed for client in clients))
    times = [one for client in clients for one in client.times]
    return Load(
        requests=len(times),
        seconds=time.perf_counter() - started,
        late_ms=percentile(times, 0.95) * 1000,
        cpu_seconds=time.process_time() - cpu,
    )


if __name__ == "__main__":
    address, path, connections, seconds = sys.argv[1:]
    print(json.dumps(asdict(uvloop.run(_post(address, path, int(connections), float(seconds))))))
