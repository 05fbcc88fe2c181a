"""Messages to users' targets: what is due is put together, claimed by one sender, and settled."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.model.ids import new_id
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.notification import Message, MessageState, Notification, NotificationType

#: Users in one step, and notifications that a message names.
_USERS, _NAMED = 100, 200
#: Between two messages to one user: what comes sooner travels together.
QUIET = timedelta(seconds=60)
_COLUMNS = (
    '"id","userId","targetId","state","notifications","total","attempt","isRepeated","tryAt","error","sentAt",'
    '"createdAt"'
)
_OPEN = "\"state\" IN ('waiting','sending') AND \"tryAt\" <= ?"


class Messages:
    """The Notification and NotificationMessage tables, as a sender needs them.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def hurry(self, types: Collection[NotificationType], now: datetime) -> int:
        """Let what waits be due now, of some types; returns how many there were."""
        marks = ",".join("?" * len(types))
        text = f'UPDATE "Notification" SET "dueAt" = ? WHERE "isBatched" = ? AND "dueAt" > ? AND "type" IN ({marks})'
        at = self._db.to_column(now)
        with self._db.write() as c:
            return c.execute(self._db.sql(text), (at, False, at, *(kind.value for kind in types))).rowcount

    def put_together(self, now: datetime) -> int:
        """Make messages of what is due, one for each target of a user; returns how many."""
        text = 'SELECT DISTINCT "userId" FROM "Notification" WHERE "isBatched" = ? AND "dueAt" <= ? LIMIT ?'
        with self._db.read() as c:
            users = c.execute(self._db.sql(text), (False, self._db.to_column(now), _USERS)).scalars()
        return sum(self._put_together(user_id, now) for user_id in users)

    def due(self, now: datetime, limit: int, *, busy: Collection[str] = (), mails: bool = True) -> list[Message]:
        """Read messages that are to be sent, those first that have waited longest.

        Args:
            now: The time.
            limit: How many at most.
            busy: Targets, and users for their own address, whose messages are left out.
            mails: Whether those to users' own addresses are wanted.
        """
        where = _OPEN if mails else f'{_OPEN} AND "targetId" IS NOT NULL'
        if busy:
            where += f' AND COALESCE("targetId","userId") NOT IN ({",".join("?" * len(busy))})'
        text = f'SELECT {_COLUMNS} FROM "NotificationMessage" WHERE {where} ORDER BY "tryAt" LIMIT ?'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (self._db.to_column(now), *busy, limit)).all()
        return [self._message(row) for row in rows]

    def claim(self, message: Message, now: datetime, until: datetime) -> bool:
        """Take a message to send it; tells whether nobody else did.

        One that was being sent when its sender died is sent once more, and not a third time: nobody knows whether it
        has arrived.
        """
        is_lost = message.state is MessageState.SENDING
        gives_up = is_lost and message.is_repeated
        state = MessageState.FAILED if gives_up else MessageState.SENDING
        error = "whoever sent it died twice; whether it has arrived is not known" if gives_up else message.error
        text = f"""
UPDATE "NotificationMessage" SET "state" = ?, "attempt" = "attempt" + 1, "isRepeated" = ?, "tryAt" = ?, "error" = ?
WHERE "id" = ? AND "attempt" = ? AND {_OPEN}
"""
        values = (
            state.value, is_lost or message.is_repeated, self._db.to_column(until), error,
            message.id, message.attempt, self._db.to_column(now),
        )  # fmt: skip
        with self._db.write() as c:
            return c.execute(self._db.sql(text), values).rowcount == 1 and not gives_up

    def settle(
        self, message: Message, state: MessageState, now: datetime, *, try_at: datetime, error: str | None
    ) -> None:
        """Write what became of a message that was claimed; where somebody else has claimed it since, nothing."""
        text = """
UPDATE "NotificationMessage" SET "state" = ?, "tryAt" = ?, "error" = ?, "sentAt" = ?
WHERE "id" = ? AND "attempt" = ? AND "state" = 'sending'
"""
        sent_at = self._db.to_column(now) if state is MessageState.SENT else None
        kept = None if error is None else error[:1000].replace("\0", "")
        values = (state.value, self._db.to_column(try_at), kept, sent_at, message.id, message.attempt + 1)
        with self._db.write() as c:
            c.execute(self._db.sql(text), values)

    def forget(self, before: datetime, limit: int) -> int:
        """Delete messages that were sent or given up, and notifications that were told, of before some time.

        Returns:
            How many rows; not more than ``limit`` of each.
        """
        at, count = self._db.to_column(before), 0
        for table, condition, values in (
            ("NotificationMessage", """"state" IN ('sent','failed')""", ()),
            ("Notification", '"isBatched" = ?', (True,)),
        ):
            old = f'SELECT "id" FROM "{table}" WHERE "createdAt" < ? AND {condition} LIMIT ?'
            with self._db.write() as c:
                text = f'DELETE FROM "{table}" WHERE "id" IN ({old})'
                count += c.execute(self._db.sql(text), (at, *values, limit)).rowcount
        return count

    def notifications_of(self, message: Message) -> list[Notification]:
        """Read what a message tells, the first ones."""
        text = f"""
SELECT "id","userId","type","data","createdAt" FROM "Notification" WHERE "id" {self._db.among} ORDER BY "id"
"""
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (self._db.to_list(message.notifications),)).all()
        return [self._notification(row) for row in rows]

    def list(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[Message]:
        """Read a page of the messages to a user, the latest first."""
        before = cursor_id(cursor)
        where, values = ("", ()) if before is None else (' AND "id" < ?', (before,))
        text = f'SELECT {_COLUMNS} FROM "NotificationMessage" WHERE "userId" = ?{where} ORDER BY "id" DESC LIMIT ?'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (user_id, *values, limit + 1)).all()
        return page_by_id(rows, limit, self._message)

    def _put_together(self, user_id: str, now: datetime) -> int:
        at = self._db.to_column(now)
        with self._db.write() as c:
            if self._db.provider == "postgresql":
                # Another sender may do the same for this user.
                c.execute(self._db.sql('SELECT 1 FROM "User" WHERE "id" = ? FOR UPDATE'), (user_id,))
            if self._was_told(c, user_id, now):
                return 0
            due = '"userId" = ? AND "isBatched" = ? AND "dueAt" <= ?'
            values = (user_id, False, at)
            ids = c.execute(
                self._db.sql(f'SELECT "id" FROM "Notification" WHERE {due} ORDER BY "id" LIMIT ?'), (*values, _NAMED)
            ).scalars()
            total = c.execute(
                self._db.sql(f'UPDATE "Notification" SET "isBatched" = ? WHERE {due}'), (True, *values)
            ).rowcount
            if not total:
                return 0
            targets: list[str | None] = c.execute(
                self._db.sql('SELECT "id" FROM "NotificationTarget" WHERE "userId" = ? AND "isEnabled" = ?'),
                (user_id, True),
            ).scalars() or [None]
            rows = [
                (new_id(), user_id, target, MessageState.WAITING.value, dumps(ids), total, at, at) for target in targets
            ]
            text = """
INSERT INTO "NotificationMessage" ("id","userId","targetId","state","notifications","total","tryAt","createdAt")
VALUES (?,?,?,?,?,?,?,?)
"""
            c.execute(self._db.sql(text), rows)
        return len(rows)

    def _was_told(self, c: Connection, user_id: str, now: datetime) -> bool:
        """Tell whether a user had a message a moment ago: a storm of them is to be one."""
        text = 'SELECT "createdAt" FROM "NotificationMessage" WHERE "userId" = ? ORDER BY "id" DESC LIMIT 1'
        row = c.execute(self._db.sql(text), (user_id,)).first()
        last = None if row is None else self._db.from_column(row[0])
        return last is not None and timedelta(0) <= now - last < QUIET

    def _message(self, row: Row) -> Message:
        moment = self._db.from_column
        try_at, created = moment(row[8]), moment(row[11])
        assert try_at is not None and created is not None
        return Message(
            id=row[0],
            user_id=row[1],
            target_id=row[2],
            state=MessageState(row[3]),
            notifications=loads(row[4]),
            total=row[5],
            attempt=row[6],
            is_repeated=bool(row[7]),
            try_at=try_at,
            error=row[9],
            sent_at=moment(row[10]),
            created_at=created,
        )

    def _notification(self, row: Row) -> Notification:
        created = self._db.from_column(row[4])
        assert created is not None
        data: dict[str, Any] = loads(row[3])
        return Notification(row[0], row[1], NotificationType(row[2]), data, created)
