"""``AgentServer``: the process that answers REST requests."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import FrameType

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.data.database import Database
from autogpt_server.server.counted_requests import CountedRequests
from autogpt_server.server.malformed import ProblemProtocol
from autogpt_server.server.rest import create_app
from autogpt_server.server.submission_spans import SubmissionSpans
from autogpt_server.service.http_server import HttpServer
from autogpt_server.service.listen import is_loopback, listen
from autogpt_server.service.process import AppProcess
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.traces import open_sender

log = logging.getLogger(__name__)


class AgentServer(AppProcess):
    """Serves the REST interface on ``settings.host`` and ``settings.port``; port 0 means any free one.

    It is ready when it answers, and tells ``host`` and ``port``.  Where other machines can reach it every request needs
    a key; before there is one it also tells a one-time ``token``, which is good for the first.
    """

    ready_when_running = False

    def run(self) -> None:
        listener = listen(
            self.settings.host, self.settings.port, port_setting="AUTOGPT_PORT", host_setting="AUTOGPT_HOST"
        )
        host, port = listener.getsockname()[:2]
        counting.begin(open_run_folder(self.settings), self.name)
        app = create_app(self.settings)
        lifespan = AsyncExitStack()

        async def open_app() -> None:
            await lifespan.enter_async_context(app.router.lifespan_context(app))

        sender = open_sender(self.settings)
        submissions = None if sender is None else SubmissionSpans(sender)
        counted = CountedRequests(app, submissions)
        with HttpServer(counted, listener, open_app, lifespan.aclose, self.pulse, ProblemProtocol) as server:
            _on_drain(lambda: app.state.services.submitter.stop_accepting())
            token = _setup_token(self.settings)
            self.ready(host=host, port=port, token=token)
            log.info("%s answers on %s:%d", self.name, host, port)
            if token is not None:
                log.warning("there is no key yet: the first one is given for the token that was printed at this start")
            try:
                self.stopping.wait()
            finally:
                # Before the server waits for running requests: streams of events would not end by themselves.
                with contextlib.suppress(RuntimeError):  # its loop has ended already
                    server.loop.call_soon_threadsafe(app.state.stopping.set)
                if sender is not None:
                    sender.close()


def _on_drain(call: Callable[[], None]) -> None:
    """Have something called when the supervisor tells that a stop begins; SIGTERM follows once executors are done."""
    if hasattr(signal, "SIGUSR1"):

        def on_signal(number: int, frame: FrameType | None) -> None:
            call()

        signal.signal(signal.SIGUSR1, on_signal)


def _setup_token(settings: Settings) -> str | None:
    """Make a one-time token where others could reach the server, and nobody has a key yet."""
    if is_loopback(settings.host):
        return None
    database = Database.from_settings(settings)
    try:
        return Accounts(database).make_setup_token()
    finally:
        database.close()
