"""The secrets that blocks of this process were given of late: they are struck out of all that it logs and prints.

What a node yields, raises and logs goes through its own redactor.  This is for what has no node: threads that a block
started by itself, and loggers that write past it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable

from autogpt_server.model.kept import keep
from autogpt_server.model.redaction import Redactor

#: Secrets that are kept in mind; the ones that were not given for longest go first.
_MOST = 100


class LiveSecrets:
    """Some secrets, the latest ones.  Safe for threads."""

    def __init__(self) -> None:
        self._secrets: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.redactor = Redactor(())

    def add(self, secrets: Iterable[str]) -> None:
        """Keep some in mind."""
        with self._lock:
            is_new = False
            for secret in secrets:
                is_new = is_new or secret not in self._secrets
                keep(self._secrets, secret, None, _MOST)
            if is_new:
                self.redactor = Redactor(self._secrets)

    def strike_out(self, record: logging.LogRecord) -> bool:
        """Strike them out of a log record; as a filter, it lets every record pass."""
        redactor = self.redactor
        if redactor:
            try:
                text = record.getMessage()
            except Exception:
                # Arguments that do not fit the message.
                text = f"{record.msg} {record.args}"
            if record.exc_info:
                # As text: whoever formats the record would else read the exception again.
                text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
                record.exc_info = record.exc_text = None
            record.msg, record.args = redactor.text(text), None
        return True


#: Of this process.
LIVE = LiveSecrets()
