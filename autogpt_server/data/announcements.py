"""Hears, on PostgreSQL, which schedules somebody has changed, on whatever machine: ``LISTEN`` beside ``pg_notify``.

A hint only: what is missed while the connection is away is read again when it is back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from autogpt_server.data.schedules import CHANNEL
from autogpt_server.data.urls import DatabaseUrl

log = logging.getLogger(__name__)

#: Seconds between two looks whether it is to stop, and after a lost connection.
_LOOK_SECONDS = 1.0
_CONNECT_SECONDS = 10


class Announcements:
    """Listens in a thread of its own, on a connection of its own.

    Args:
        url: Of the database, without a pooler, which would keep nobody listening.  SQLite has no channels, there
            nothing is heard.
        hear: Called with ids that changed, or with none where all are to be read again.
    """

    def __init__(self, url: DatabaseUrl, hear: Callable[[Iterable[str]], None]) -> None:
        self._url, self._hear = url, hear
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="announcements", daemon=True)

    def start(self) -> None:
        if self._url.provider == "postgresql":
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_LOOK_SECONDS * 2)

    def _work(self) -> None:
        import psycopg  # a SQLite server never pays for it

        while not self._stopping.is_set():
            try:
                with self._connect(psycopg) as connection:
                    (channel,) = connection.execute(f"SELECT {CHANNEL}").fetchone()
                    connection.execute(f"LISTEN {channel}")
                    # What changed before somebody listened.
                    self._hear(())
                    while not self._stopping.is_set():
                        for told in connection.notifies(timeout=_LOOK_SECONDS):
                            self._hear(told.payload.split())
            except psycopg.Error as error:
                log.warning("cannot hear of changed schedules, trying again: %s", error)
                self._stopping.wait(_LOOK_SECONDS)

    def _connect(self, psycopg: Any) -> Any:
        arguments = self._url.schema_arguments
        return psycopg.connect(self._url.libpq, autocommit=True, connect_timeout=_CONNECT_SECONDS, **arguments)
