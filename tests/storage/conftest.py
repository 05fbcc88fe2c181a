"""A real S3 interface for the tests: moto's server, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.postgres_server import free_port


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while True:
            try:
                httpx.get(address)
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.05)
        yield address
        process.kill()
