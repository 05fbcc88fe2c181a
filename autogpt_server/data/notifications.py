"""What users are to be told: written in the transaction of what happened, so that nothing is told that did not, and
nothing is forgotten."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import new_id
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.notification import NotificationType, Preferences
from autogpt_server.model.principal import Role

_INSERT = """
INSERT INTO "Notification" ("id","userId","type","key","data","dueAt","isBatched","createdAt") VALUES (?,?,?,?,?,?,?,?)
ON CONFLICT ("userId","type","key") DO NOTHING
"""
_USER = 'SELECT "notificationPreferences","timezone" FROM "User" WHERE "id" = ?'
#: Seconds for which an executor remembers what a user wants to be told.
_REMEMBERED = 10.0
#: Characters of a reason that are told.
_MAX_REASON = 500


class News(NamedTuple):
    """Something that happened: of what type, what it is about (told once), and what is said of it."""

    user_id: str
    type: NotificationType
    key: str
    data: dict[str, Any]


def queue_notifications(db: Database, c: Connection, news: Iterable[News], now: datetime) -> None:
    """Write what users are to be told inside a transaction: each key once, and nothing that a user does not want.

    Users that are not known are told nothing.
    """
    preferences: dict[str, Preferences | None] = {}
    rows: list[tuple[Any, ...]] = []
    for one in news:
        if one.user_id not in preferences:
            preferences[one.user_id] = read_preferences(db, c, one.user_id)
        wanted = preferences[one.user_id]
        if wanted is not None and (due_at := wanted.due_at(one.type, now)) is not None:
            rows.append(_row(db, one, due_at, now))
    if rows:
        c.execute(db.sql(_INSERT), rows)


def owners(db: Database, c: Connection) -> list[str]:
    """Read the ids of those who run the server."""
    text = 'SELECT "id" FROM "User" WHERE "role" = ? AND "disabledAt" IS NULL ORDER BY "id"'
    return c.execute(db.sql(text), (Role.OWNER.value,)).scalars()


def read_preferences(db: Database, c: Connection, user_id: str) -> Preferences | None:
    """Read what a user wants to be told; None where there is no such user."""
    row = c.execute(db.sql(_USER), (user_id,)).first()
    return None if row is None else Preferences(loads(row[0]), row[1])


class ExecutionNews:
    """Tells users of executions that end, in the commits that end them.  One for each executor.

    What users want is remembered for some seconds: most of them want nothing, and that must cost nothing.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: dict[str, tuple[float, Preferences | None]] = {}

    def tell(self, c: Connection, ends: Collection[ExecutionEnd]) -> None:
        """Write what is to be told of executions that a transaction ends."""
        rows: list[tuple[Any, ...]] = []
        now = clock.now()
        for end in ends:
            kind = _KINDS.get(end.status)
            wanted = None if kind is None else self._preferences(c, end.user_id)
            if kind is None or wanted is None or (due_at := wanted.due_at(kind, now)) is None:
                continue
            data = {
                "execution_id": end.execution_id,
                "graph_id": end.graph_id,
                "error": (end.error or "")[:_MAX_REASON],
            }
            rows.append(_row(self._db, News(end.user_id, kind, end.execution_id, data), due_at, now))
        if rows:
            c.execute(self._db.sql(_INSERT), rows)

    def _preferences(self, c: Connection, user_id: str) -> Preferences | None:
        known = self._known.get(user_id)
        if known is None or time.monotonic() - known[0] > _REMEMBERED:
            known = self._known[user_id] = (time.monotonic(), read_preferences(self._db, c, user_id))
        return known[1]


class ExecutionEnd(NamedTuple):
    """An execution that has ended, and is no part of another."""

    execution_id: str
    user_id: str
    graph_id: str
    status: str
    error: str | None


_KINDS = {
    ExecutionStatus.COMPLETED.value: NotificationType.EXECUTION_FINISHED,
    ExecutionStatus.FAILED.value: NotificationType.EXECUTION_FAILED,
}


def _row(db: Database, news: News, due_at: datetime, now: datetime) -> tuple[Any, ...]:
    due, created = db.to_column(due_at), db.to_column(now)
    return (new_id(), news.user_id, news.type.value, news.key, dumps(news.data), due, False, created)
