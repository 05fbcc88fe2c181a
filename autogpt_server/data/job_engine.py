"""The database as APScheduler's job stores use it: through SQLAlchemy, on a pool of their own."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine

from autogpt_server.data.database import LOCK_SECONDS, POOL_SECONDS, make_engine
from autogpt_server.data.file_lock import FileLock
from autogpt_server.data.urls import DatabaseUrl
from autogpt_server.errors import Unavailable


class JobEngine:
    """An engine for one job store.

    Each of APScheduler's statements commits by itself, so that on SQLite none keeps a transaction open.

    Args:
        url: Where the tables are.
        pool_size: Connections at most.
    """

    def __init__(self, url: DatabaseUrl, *, pool_size: int) -> None:
        self.engine: Engine = make_engine(
            url, {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": POOL_SECONDS}
        )
        #: The PostgreSQL schema that was asked for.
        self.schema = url.schema if url.path is None else None
        self._lock = None if url.path is None else FileLock(url.path.with_name(f"{url.path.name}.lock"))
        self._turn = threading.Lock()

    @contextmanager
    def writing(self) -> Generator[None]:
        """Take the turn to write, as everybody does who writes to a SQLite database.

        Raises:
            Unavailable: Others wrote all the time.
        """
        if self._lock is None:
            yield
            return
        if not self._turn.acquire(timeout=LOCK_SECONDS):
            raise Unavailable(f"another thread has been writing for {LOCK_SECONDS:g} s")
        try:
            with self._lock.hold(LOCK_SECONDS):
                yield
        finally:
            self._turn.release()

    def close(self) -> None:
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()
