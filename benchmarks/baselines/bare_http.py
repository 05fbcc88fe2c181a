"""The least that a uvicorn server can do for a request: what the machine and the load client allow.

python -m benchmarks.baselines.bare_http
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop

from benchmarks.server import ROOT

_BODY = b'{"id":"00000000-0000-7000-8000-000000000000","status":"QUEUED"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


@contextmanager
def running() -> Generator[str]:
    """Run it as a process for a ``with`` block and give its address."""
    command = [sys.executable, "-m", "benchmarks.baselines.bare_http"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def _serve() -> None:
    server = uvicorn.Server(uvicorn.Config(_app, lifespan="off", access_log=False, log_level="error"))
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    serving = asyncio.create_task(server.serve([listening]))
    # Ends with whoever started it, also when that was killed.
    await asyncio.to_thread(os.read, 0, 1)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    uvloop.run(_serve())
