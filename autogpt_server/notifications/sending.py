"""Sends what is due, several messages at the same time and one at a time to each target."""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from autogpt_server.data.database import Database
from autogpt_server.data.messages import Messages
from autogpt_server.data.targets import Targets
from autogpt_server.data.users import Users
from autogpt_server.errors import ServerError, TargetNotFound
from autogpt_server.model import clock
from autogpt_server.model.notification import Message, MessageState, Target, TargetKind
from autogpt_server.notifications.channels import LIMIT, SendFailed, send_by_apprise, send_mail, send_webhook
from autogpt_server.notifications.rendering import Rendered, Renderer
from autogpt_server.service.crash_points import crash_point
from autogpt_server.settings import Settings

log = logging.getLogger(__name__)

#: Messages that are sent at the same time.
_AT_ONCE = 8
#: For how long it is kept what was told; rows deleted in one step, and seconds between two looks.
_KEPT = timedelta(days=90)
_FORGOTTEN, _FORGET_SECONDS = 500, 3600.0
#: Of those, mails to users' own addresses: they go by one server.
_MAILS_AT_ONCE = _AT_ONCE // 2
#: For so long a message belongs to whoever sends it: longer than sending may take.
_LEASE = timedelta(seconds=LIMIT * 2)
#: Before the second try; doubled before each further one.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=2)
#: Tries, and how long is tried.
_TRIES, _PATIENCE = 12, timedelta(days=1)


class _Sending(NamedTuple):
    """A message that is being sent.  The process does not wait for its thread at the end: a target may hang."""

    thread: threading.Thread
    #: To a user's own address.
    is_mail: bool


class Sender:
    """Takes messages that are due and sends them.  One in each process; several may share a database."""

    def __init__(self, settings: Settings, database: Database, targets: Targets) -> None:
        self._settings, self._targets = settings, targets
        self._messages, self._users = Messages(database), Users(database)
        #: What is under way, by target.
        self._busy: dict[str, _Sending] = {}
        #: When it is next looked, by the monotonic clock, what may be deleted.
        self._forgets_at = 0.0

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer()

    def turn(self) -> int:
        """Put together what is due, and begin to send what waits; returns how many messages are under way."""
        now = clock.now()
        self._messages.put_together(now)
        self._forget(now)
        self._busy = {key: one for key, one in self._busy.items() if one.thread.is_alive()}
        if len(self._busy) >= _AT_ONCE:
            return len(self._busy)
        # A target that hangs keeps one thread busy, a mail server half of them; what waits for these holds up no other.
        mails = sum(one.is_mail for one in self._busy.values())
        due = self._messages.due(now, _AT_ONCE * 4, busy=list(self._busy), mails=mails < _MAILS_AT_ONCE)
        for message in due:
            key = message.target_id or message.user_id
            is_mail = message.target_id is None
            if len(self._busy) >= _AT_ONCE or key in self._busy or (is_mail and mails >= _MAILS_AT_ONCE):
                continue
            if not self._messages.claim(message, now, now + _LEASE):
                continue
            crash_point("message.claimed")
            thread = threading.Thread(target=self._send, args=(message,), name=f"send-{message.id}", daemon=True)
            mails += is_mail
            self._busy[key] = _Sending(thread, is_mail)
            thread.start()
        return len(self._busy)

    def _forget(self, now: datetime) -> None:
        """Once an hour, and in short steps while there is much, delete what was told long ago."""
        if time.monotonic() >= self._forgets_at and self._messages.forget(now - _KEPT, _FORGOTTEN) < _FORGOTTEN:
            self._forgets_at = time.monotonic() + _FORGET_SECONDS

    def wait(self, seconds: float) -> None:
        """Wait until what is under way is sent, or has failed, or so many seconds have passed."""
        end = time.monotonic() + seconds
        for one in self._busy.values():
            one.thread.join(max(0.0, end - time.monotonic()))

    def send_now(self, target: Target, rendered: Rendered, message_id: str, payload: dict[str, object]) -> None:
        """Send to a target.

        Raises:
            SendFailed: It did not arrive.
        """
        match target.kind:
            case TargetKind.MAIL:
                send_mail(self._settings, target.address, rendered, message_id)
            case TargetKind.WEBHOOK:
                send_webhook(self._settings, target.address, target.secret or "", payload, message_id)
            case TargetKind.APPRISE:
                send_by_apprise(self._settings, target.address, rendered)

    def _send(self, message: Message) -> None:
        try:
            self._try(message)
        except SendFailed as error:
            self._failed(message, error)
        except TargetNotFound:
            self._settle(message, MessageState.FAILED, "its target was deleted")
        except ServerError as error:
            self._failed(message, SendFailed(str(error)))
        except Exception as error:
            # The border of one message: the others must go on.
            log.exception("message %s cannot be sent", message.id)
            self._failed(message, SendFailed(f"{type(error).__name__}: {error}"))
        else:
            crash_point("message.sent")
            self._settle(message, MessageState.SENT, None)

    def _try(self, message: Message) -> None:
        user = self._users.get(message.user_id)
        notifications = self._messages.notifications_of(message)
        if not notifications:
            raise SendFailed("what it tells was deleted", is_final=True)
        rendered = self._renderer.render(user, notifications, message.total)
        payload: dict[str, object] = {
            "id": message.id,
            "user_id": user.id,
            "subject": rendered.subject,
            "total": message.total,
            "notifications": [
                {"id": n.id, "type": n.type.value, "created_at": _written(n.created_at), "data": n.data}
                for n in notifications
            ],
        }
        if message.target_id is None:
            send_mail(self._settings, user.email, rendered, message.id)
        else:
            target = self._targets.get(message.user_id, message.target_id)
            self.send_now(target, rendered, message.id, payload)

    def _failed(self, message: Message, error: SendFailed) -> None:
        attempt, age = message.attempt + 1, clock.now() - message.created_at
        if error.is_final or attempt >= _TRIES or age > _PATIENCE:
            log.error("message %s to user %s is given up: %s", message.id, message.user_id, error)
            self._settle(message, MessageState.FAILED, str(error))
            return
        pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE) * random.uniform(0.8, 1.2)
        pause = max(pause, error.retry_after or timedelta(0))
        log.warning("message %s is tried again in %.0f s: %s", message.id, pause.total_seconds(), error)
        self._settle(message, MessageState.WAITING, str(error), clock.now() + pause)

    def _settle(self, message: Message, state: MessageState, error: str | None, try_at: datetime | None = None) -> None:
        now = clock.now()
        try:
            self._messages.settle(message, state, now, try_at=try_at or now, error=error)
        except ServerError as failure:
            # It is sent once more when its lease has run out.
            log.warning("what became of message %s cannot be written: %s", message.id, failure)


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
