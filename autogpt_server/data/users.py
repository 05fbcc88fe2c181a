"""The User table.  Without keys everybody is the one local user, who also owns the server."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

from prisma import Prisma
from prisma.errors import UniqueViolationError

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.errors import ConflictError, UserNotFound
from autogpt_server.model import clock
from autogpt_server.model.account import User
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.principal import Role

_DEFAULT_EMAIL = "default@localhost"
_COLUMNS = '"id","email","name","timezone","role","disabledAt","createdAt"'


async def ensure_default_user(db: Prisma) -> None:
    """Create the one local user unless it exists.  Safe to repeat, also by several processes at once."""
    if await db.user.find_unique(where={"id": DEFAULT_USER_ID}) is None:
        # Another process was quicker.
        with contextlib.suppress(UniqueViolationError):
            await db.user.create(
                data={
                    "id": DEFAULT_USER_ID,
                    "email": _DEFAULT_EMAIL,
                    "name": "Default",
                    "role": Role.OWNER.value,
                }  # fmt: skip
            )


class Users:
    """Reads and changes users.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def ensure_default(self) -> None:
        """Create the one local user unless it exists."""
        now = self._db.to_column(clock.now())
        values = (DEFAULT_USER_ID, _DEFAULT_EMAIL, "Default", Role.OWNER.value, now, now)
        text = """
INSERT INTO "User" ("id","email","name","role","createdAt","updatedAt") VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING
"""
        with self._db.write() as c:
            c.execute(self._db.sql(text), values)

    def add(self, email: str, name: str | None, timezone: str, role: Role) -> User:
        """Create a user.

        Raises:
            ConflictError: There is one with this address.
        """
        now = clock.now()
        user = User(new_id(), email, name, timezone, role, None, clock.from_ms(clock.to_ms(now)))
        at = self._db.to_column(now)
        text = """
INSERT INTO "User" ("id","email","name","timezone","role","createdAt","updatedAt") VALUES (?,?,?,?,?,?,?)
ON CONFLICT ("email") DO NOTHING
"""
        with self._db.write() as c:
            added = c.execute(self._db.sql(text), (user.id, email, name, timezone, role.value, at, at)).rowcount
        if not added:
            raise ConflictError(f"There is a user with the address {email} already.")
        return user

    def get(self, user_id: str) -> User:
        """Read a user.

        Raises:
            UserNotFound: There is none by that id.
        """
        with self._db.read() as c:
            row = c.execute(self._db.sql(f'SELECT {_COLUMNS} FROM "User" WHERE "id" = ?'), (user_id,)).first()
        if row is None:
            raise UserNotFound(user_id)
        return self._user(row)

    def find_by_email(self, email: str) -> User | None:
        """Read the user with an address."""
        with self._db.read() as c:
            row = c.execute(self._db.sql(f'SELECT {_COLUMNS} FROM "User" WHERE "email" = ?'), (email,)).first()
        return None if row is None else self._user(row)

    def list(self, *, limit: int, cursor: str | None = None) -> Page[User]:
        """Read a page of users by their ids."""
        after = cursor_id(cursor) or ""
        text = f'SELECT {_COLUMNS} FROM "User" WHERE "id" > ? ORDER BY "id" LIMIT ?'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (after, limit + 1)).all()
        return page_by_id(rows, limit, self._user)

    def edit(self, user_id: str, changes: dict[str, Any]) -> User:
        """Change some of ``email``, ``name``, ``timezone``, ``role`` and ``is_disabled``.

        Raises:
            UserNotFound: There is none by that id.
            ConflictError: Another user has the address, or nobody would own the server any more.
        """
        with self._db.write() as c:
            # Others that demote an owner wait: two could each leave the other as the last one.
            lock = " FOR UPDATE" if self._db.provider == "postgresql" else ""
            owners = c.execute(
                self._db.sql(f'SELECT "id" FROM "User" WHERE "role" = ? AND "disabledAt" IS NULL ORDER BY "id"{lock}'),
                (Role.OWNER.value,),
            ).scalars()
            user = self._read(c, user_id)
            after = _changed(user, changes)
            if owners == [user_id] and (after.role is not Role.OWNER or after.disabled_at is not None):
                raise ConflictError(f"{user.email} is the only owner of this server; make another one first.")
            self._check_email(c, after)
            text = """
UPDATE "User" SET "email" = ?, "name" = ?, "timezone" = ?, "role" = ?, "disabledAt" = ?, "updatedAt" = ? WHERE "id" = ?
"""
            disabled, now = self._db.to_column(after.disabled_at), self._db.to_column(clock.now())
            values = (after.email, after.name, after.timezone, after.role.value, disabled, now, user_id)
            c.execute(self._db.sql(text), values)
        return after

    def _read(self, c: Connection, user_id: str) -> User:
        row = c.execute(self._db.sql(f'SELECT {_COLUMNS} FROM "User" WHERE "id" = ?'), (user_id,)).first()
        if row is None:
            raise UserNotFound(user_id)
        return self._user(row)

    def _check_email(self, c: Connection, user: User) -> None:
        text = 'SELECT 1 FROM "User" WHERE "email" = ? AND "id" <> ?'
        if c.execute(self._db.sql(text), (user.email, user.id)).first() is not None:
            raise ConflictError(f"Another user has the address {user.email}.")

    def _user(self, row: Row) -> User:
        created = self._db.from_column(row[6])
        assert created is not None
        return User(row[0], row[1], row[2], row[3], Role(row[4]), self._db.from_column(row[5]), created)


def _changed(user: User, changes: dict[str, Any]) -> User:
    disabled: datetime | None = user.disabled_at
    if "is_disabled" in changes:
        disabled = (disabled or clock.from_ms(clock.now_ms())) if changes["is_disabled"] else None
    return User(
        id=user.id,
        email=changes.get("email", user.email),
        name=changes.get("name", user.name),
        timezone=changes.get("timezone", user.timezone),
        role=Role(changes.get("role", user.role)),
        disabled_at=disabled,
        created_at=user.created_at,
    )
