"""The ways to a target: mail, a signed webhook, and whatever Apprise knows.  Blocking; each has a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage
from email.utils import formatdate
from importlib import import_module
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from autogpt_server.blocks.addresses import check_addresses
from autogpt_server.blocks.web_client import WebRequest, fetch
from autogpt_server.errors import BlockError, InvalidError, Problem
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.notifications.rendering import Rendered
from autogpt_server.settings import Settings

#: Seconds that one message may take.
LIMIT = 30.0
#: Schemes of Apprise that reach into this machine, or send to any address in a form of their own, as webhooks do.
#: Parameters of Apprise by which it connects to another host than the address has.
_HOSTS_IN_QUERY = frozenset({"smtp", "host", "server", "url"})
_REFUSED = frozenset(
    ("dbus", "file", "form", "forms", "glib", "gnome", "json", "jsons", "kde", "macosx", "qt", "rsyslog", "syslog")
    + ("windows", "xml", "xmls")
)
#: Bytes of an answer that are read; they say nothing.
_MAX_ANSWER = 64 * 1024
_UNREACHABLE = "the address cannot be reached"


class SendFailed(Exception):
    """A message did not arrive.

    Args:
        reason: In words, without secrets.
        is_final: Another try would fail, too.
        retry_after: What the other side asks for.
    """

    def __init__(self, reason: str, *, is_final: bool = False, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.is_final, self.retry_after = is_final, retry_after


def send_mail(settings: Settings, to: str, rendered: Rendered, message_id: str) -> None:
    """Send a mail over SMTP, or put it into a folder where no server is set.

    Raises:
        SendFailed: It was not taken.
    """
    mail = _mail(settings, to, rendered, message_id)
    if settings.smtp_host is None:
        _keep(settings.mails_dir, mail, message_id)
    elif to.endswith("@localhost"):
        raise SendFailed(f"{to} is no address that mail reaches; set another: autogpt user edit", is_final=True)
    else:
        asyncio.run(_smtp(settings, mail))


def send_webhook(settings: Settings, url: str, secret: str, payload: dict[str, Any], message_id: str) -> None:
    """Post a message as JSON, signed.

    Raises:
        SendFailed: It was not answered with 2xx.
    """
    check_url(settings, url)
    body, at = dumps(payload).encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "autogpt-server",
        "Webhook-Id": message_id,
        "Webhook-Timestamp": at,
        "Webhook-Signature": f"v1={sign(secret, message_id, at, body)}",
    }
    request = WebRequest("POST", url, headers, {"content": body}, timeout=LIMIT / 3, max_bytes=_MAX_ANSWER)
    try:
        answer = asyncio.run(fetch(request, _is_allowed(settings)))
    except BlockError as error:
        # Addresses of webhooks hold secrets, often.
        raise SendFailed(f"the webhook did not answer: {str(error).replace(url, 'it')}") from None
    if not 200 <= answer.status < 300:
        seconds = answer.retry_after_seconds
        raise SendFailed(
            f"the webhook answered {answer.status}",
            is_final=400 <= answer.status < 500 and answer.status not in (408, 425, 429),
            retry_after=None if seconds is None else timedelta(seconds=seconds),
        )


def send_by_apprise(settings: Settings, url: str, rendered: Rendered) -> None:
    """Send a message by one of Apprise's services.

    Raises:
        SendFailed: It was not taken; Apprise does not tell why.
    """
    check_apprise(settings, url)
    # Large, and needed by few.
    apprise: Any = import_module("apprise")
    service = apprise.Apprise()
    if not service.add(url) or not service.notify(title=rendered.subject, body=rendered.text):
        raise SendFailed("the service did not take it")


def sign(secret: str, message_id: str, at: str, body: bytes) -> str:
    """Sign a webhook's message: HMAC-SHA256 over ``id.timestamp.body``, hexadecimal."""
    return hmac.new(secret.encode(), f"{message_id}.{at}.".encode() + body, hashlib.sha256).hexdigest()


def check_url(settings: Settings, url: str) -> None:
    """Refuse a webhook's address that leads into this machine or a private network.

    Raises:
        SendFailed: It does, or leads nowhere.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SendFailed("the address is no http address", is_final=True)
    _check_host(settings, parts.hostname, parts.port or 443)


def check_apprise(settings: Settings, url: str) -> None:
    """Refuse addresses of Apprise that reach into this machine.

    Raises:
        SendFailed: It does, or Apprise does not know it.
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme in _REFUSED or scheme in ("http", "https"):
        raise SendFailed(f"{scheme}:// is not allowed here; use a webhook", is_final=True)
    apprise: Any = import_module("apprise")
    if apprise.Apprise.instantiate(url) is None:
        raise SendFailed("Apprise does not know such an address", is_final=True)
    host = urlsplit(url).hostname
    # With many services a token stands where others have a host; it must not be asked of name servers.
    if host and ("." in host or ":" in host or host == "localhost" or _is_number(host)):
        _check_host(settings, host, 443)
    for name, value in parse_qsl(urlsplit(url).query):
        if name.lower() in _HOSTS_IN_QUERY:
            _check_host(settings, value.partition(":")[0], 443)


def _is_number(host: str) -> bool:
    """Tell whether this is an address in one of the forms that only machines read, as 2130706433."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def check_target(settings: Settings, kind: str, address: str) -> None:
    """Refuse an address that can never be sent to.

    Raises:
        InvalidError: Names the field and the fix.
    """
    try:
        if kind == "webhook":
            check_url(settings, address)
        elif kind == "apprise":
            check_apprise(settings, address)
    except SendFailed as error:
        if error.is_final:
            fix = "give https://… for a webhook, or an address from Apprise's list of services"
            raise InvalidError("The target was refused.", [Problem("address", str(error), fix)]) from None


def _check_host(settings: Settings, host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SendFailed(_UNREACHABLE) from None
    try:
        check_addresses(host, [str(one[4][0]) for one in found], _is_allowed(settings))
    except BlockError as error:
        raise SendFailed(str(error), is_final=True) from None


def _is_allowed(settings: Settings) -> Callable[[str], bool]:
    networks = [ip_network(text, strict=False) for text in settings.allowed_networks]
    return lambda address: any(ip_address(address) in network for network in networks)


def _mail(settings: Settings, to: str, rendered: Rendered, message_id: str) -> EmailMessage:
    mail = EmailMessage()
    # EmailMessage refuses line breaks in headers; whoever wrote a graph's name must not fail the mail by one.
    mail["Subject"] = " ".join(rendered.subject.split())
    mail["From"], mail["To"] = settings.mail_from, to
    mail["Date"] = formatdate()
    # The same in every try: who receives it twice shows it once.
    mail["Message-ID"] = f"<{message_id}@{settings.mail_from.rpartition('@')[2].strip('>') or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(rendered.text)
    mail.add_alternative(rendered.html, subtype="html")
    return mail


def _keep(folder: Path, mail: EmailMessage, message_id: str) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{message_id}.eml"
    draft = path.with_suffix(f".{os.getpid()}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(mail.as_bytes())
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise SendFailed(f"the mail cannot be put into {folder}: {error.strerror}") from None


async def _smtp(settings: Settings, mail: EmailMessage) -> None:
    # Needed by those who send mail.
    aiosmtplib: Any = import_module("aiosmtplib")
    password = settings.smtp_password
    try:
        async with asyncio.timeout(LIMIT):
            await aiosmtplib.send(
                mail,
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_user,
                password=None if password is None else password.get_secret_value(),
                use_tls=settings.smtp_tls == "tls",
                start_tls=settings.smtp_tls == "starttls",
                timeout=LIMIT / 2,
            )
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refused(error.recipients[0].code, error.recipients[0].message) from None
    except aiosmtplib.SMTPResponseException as error:
        raise _refused(error.code, error.message) from None
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise SendFailed(f"the mail server did not take it: {type(error).__name__}: {error}") from None


def _refused(code: int, said: str) -> SendFailed:
    # 5xx is for good (RFC 5321, section 4.2.1); a wrong password may be mended.
    return SendFailed(
        f"the mail server answered {code} {said}", is_final=500 <= code < 600 and code not in (530, 534, 535)
    )
