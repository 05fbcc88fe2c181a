"""``NotificationManager``: the service that tells users what they want to be told."""

from __future__ import annotations

import logging
import time

from autogpt_server.data.database import Database
from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.messages import Messages
from autogpt_server.data.targets import Targets
from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from autogpt_server.model.notification import NotificationType
from autogpt_server.notifications.sending import Sender
from autogpt_server.notifications.summaries import queue_weekly_summaries
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.service.service import AppService, expose
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting

log = logging.getLogger(__name__)

#: Seconds between two looks at what is due: nobody waits for a notification on the second.
_LOOK_SECONDS = 3.0
#: Seconds for what is being sent to arrive when the process is to end.
_STOP_SECONDS = 3.0
#: Seconds without an answer of the database after which the service is of no use.
_SILENT_SECONDS = 15.0

#: Names that other deployments have for types, as they send them over RPC; some tell of what this server has not.
WIRE_TYPES = {
    "AGENT_RUN": NotificationType.EXECUTION_FINISHED,
    "BLOCK_EXECUTION_FAILED": NotificationType.EXECUTION_FAILED,
    "CONTINUOUS_AGENT_ERROR": NotificationType.BLOCK_ERROR_RATE,
    "WEEKLY_SUMMARY": NotificationType.WEEKLY_SUMMARY,
} | {kind.value: kind for kind in NotificationType}


class NotificationManager(AppService):
    """Puts notifications together and sends them; several may share a database."""

    port_setting = "NOTIFICATION_PORT"

    _database: Database | None = None
    _sender: Sender | None = None
    _seen_at: float | None = None
    _trouble: str | None = None

    @classmethod
    def get_port(cls, settings: Settings) -> int:
        return settings.notification_port

    async def startup(self) -> None:
        self._database = Database.from_settings(self.settings)
        targets = Targets(self._database, open_keyring(self.settings, self._database))
        self._sender = Sender(self.settings, self._database, targets)

    def run_service(self) -> None:
        assert self._sender is not None
        counting.begin(open_run_folder(self.settings), self.name)
        if self.settings.smtp_host is None:
            log.info("no mail server is set (AUTOGPT_SMTP_HOST): mails are put into %s", self.settings.mails_dir)
        turning = self.pulse.part()
        pause = min(_LOOK_SECONDS, self.pulse.pause)
        while not self.stopping.wait(pause):
            turning.turn()
            with turning.excused():
                self._turn(self._sender)

    def cleanup(self) -> None:
        if self._sender is not None:
            # What takes longer is sent once more after its claim has run out.
            self._sender.wait(_STOP_SECONDS)
        if self._database is not None:
            self._database.close()

    @expose(safe=True)
    def health_check(self) -> str:
        if self._trouble is not None:
            raise Unavailable(self._trouble)
        if self._seen_at is not None and time.monotonic() - self._seen_at > _SILENT_SECONDS:
            raise Unavailable(f"the database has not answered for {_SILENT_SECONDS:g} s")
        return "OK"

    @expose
    def process_existing_batches(self, notification_types: list[str]) -> int:
        """Send what waits of some types now; returns how many notifications that were.  Unknown types have none."""
        assert self._database is not None
        return hurry(self._database, notification_types)

    @expose
    def queue_weekly_summary(self) -> int:
        """Queue the summaries of those whose week is over; returns how many users were looked at."""
        assert self._database is not None
        return queue_weekly_summaries(self._database)

    def _turn(self, sender: Sender) -> None:
        try:
            sender.turn()
        except Unavailable as error:
            self._trouble = str(error)
            log.warning("cannot look at what is to be told, trying again: %s", error)
        else:
            self._trouble, self._seen_at = None, time.monotonic()


def hurry(database: Database, types: list[str]) -> int:
    """Let what waits of some types, by any of their names, be due now; returns how many notifications that were."""
    known = {WIRE_TYPES[name] for name in types if name in WIRE_TYPES}
    return Messages(database).hurry(sorted(known), clock.now()) if known else 0
