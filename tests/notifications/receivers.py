"""A mail server and a web server for tests, which take what they are sent, or do what is bad."""

from __future__ import annotations

import asyncio
import email
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.postgres_server import free_port


class Mailbox:
    """What a mail server has taken.

    Attributes:
        answer: What it says to a mail; None hangs up instead.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer: str | None = "250 OK"
        self.refused_recipient: str | None = None
        self.delay: float = 0
        self.port = free_port()

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address == self.refused_recipient:
            return "550 No such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(self.delay)
        if self.answer is None:
            assert server.transport is not None
            server.transport.abort()
            return "250 OK"
        if self.answer.startswith("250"):
            content = cast(bytes, envelope.content)
            self.mails.append(cast(EmailMessage, email.message_from_bytes(content, policy=default)))
        return self.answer


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


class Hooks:
    """What a web server was sent.

    Attributes:
        answers: Status and headers of the next answers; then 204.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.before: Callable[[BaseHTTPRequestHandler], bool] = lambda handler: True
        self.url = ""


@contextmanager
def web_server() -> Iterator[Hooks]:
    hooks = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hooks.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
            if not hooks.before(self):
                return
            status, headers = hooks.answers.pop(0) if hooks.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hooks.url = f"http://127.0.0.1:{server.server_port}/hook/s3cr3t"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hooks
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
