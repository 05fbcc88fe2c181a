"""An HTTP server in a thread of its own, with an event loop that the rest of the process may use."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Literal, Self

import uvicorn

from autogpt_server.service.pulse import Pulse

log = logging.getLogger(__name__)

#: Seconds that requests still running get at a stop.
_GRACE = 3
#: Longer than clients keep idle connections, so that they close first and never write into a closing one.
_KEEP_ALIVE = 75

#: Bytes of a message from a WebSocket client: they say little.
_MAX_MESSAGE = 65_536

Hook = Callable[[], Awaitable[None]]
Protocol = type[asyncio.Protocol] | Literal["auto"]


def http_config(app: Any, protocol: Protocol = "auto") -> uvicorn.Config:
    """How every HTTP server of ours behaves.

    Args:
        app: ASGI application.
        protocol: Reads requests; by default uvicorn's own.
    """
    return uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=_MAX_MESSAGE,
        # Most clients are on this machine, where compressing costs more than it saves.
        ws_per_message_deflate=False,
        server_header=False,
        # Nothing stands between a client and this machine that could tell more about it.
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )


class HttpServer:
    """Serves an ASGI application while inside the ``with`` block.

    Entering returns when the port answers; an exception of ``startup`` comes out there.  Leaving finishes running
    requests, calls ``shutdown``, and raises what ended the server when it ended by itself: in that case the main
    thread has been sent SIGTERM.

    Args:
        app: What answers.
        listener: Where requests come in.
        startup: Called on the loop before the port answers.
        shutdown: Called on the loop after the last request.
        pulse: Of the process; the loop becomes a part of it.
        protocol: Reads requests; by default uvicorn's own.
    """

    def __init__(
        self,
        app: Any,
        listener: socket.socket,
        startup: Hook,
        shutdown: Hook,
        pulse: Pulse,
        protocol: Protocol = "auto",
    ) -> None:
        self._listener, self._startup, self._shutdown, self._pulse = listener, startup, shutdown, pulse
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._ended: Future[None] = Future()
        self._is_stopping = False
        self._server = _Server(http_config(app, protocol), self._on_started)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.loop = self._started.result()
        except BaseException:
            # Interrupted, or failed to start: nothing to wait for, the thread does not keep the process alive.
            self._is_stopping = self._server.should_exit = True
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping = True
        self._server.should_exit = True
        self._ended.result()

    def _run(self) -> None:
        factory = self._server.config.get_loop_factory()
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self._serve())
        except BaseException as error:
            # Carried to the main thread, which answers for the process.
            self._tell(error)
        else:
            self._tell(None if self._is_stopping else RuntimeError("The HTTP server ended by itself."))

    async def _serve(self) -> None:
        try:
            await self._startup()
            await self._server.serve(sockets=[self._listener])
        finally:
            self._listener.close()
            await self._shutdown()

    def _on_started(self) -> None:
        loop = asyncio.get_running_loop()
        self._pulse.follow(loop)
        self._started.set_result(loop)

    def _tell(self, error: BaseException | None) -> None:
        if error is None:
            self._ended.set_result(None)
        elif not self._started.done():
            self._ended.set_result(None)
            self._started.set_exception(error)
        else:
            self._ended.set_exception(error)
            if not self._is_stopping:
                os.kill(os.getpid(), signal.SIGTERM)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()
