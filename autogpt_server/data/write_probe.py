"""Finds out whether a database takes writes again, after one that it did not take."""

from __future__ import annotations

import threading

from autogpt_server.data.database import Database
from autogpt_server.errors import Unavailable
from autogpt_server.model.ids import new_id


class WriteProbe:
    """Writes only while the last transaction of its database failed: nothing is worn out by asking often."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._is_probing = threading.Lock()

    def error(self) -> str | None:
        """Say why the database takes no writes; None where it does.  Waits as long as a writer does, in one thread."""
        if self._db.write_error is not None and self._is_probing.acquire(blocking=False):
            try:
                self._write()
            except Unavailable as error:
                return str(error)
            finally:
                self._is_probing.release()
        return self._db.write_error

    def _write(self) -> None:
        # What is put and taken away again in one transaction is written all the same, and seen by nobody.
        probe = new_id()
        with self._db.write() as c:
            c.execute(self._db.sql('INSERT INTO "User" ("id","email") VALUES (?,?)'), (probe, probe))
            c.execute(self._db.sql('DELETE FROM "User" WHERE "id" = ?'), (probe,))
