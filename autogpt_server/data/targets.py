"""The NotificationTarget table.  Addresses and secrets are encrypted: both open somebody's door."""

from __future__ import annotations

import builtins

from autogpt_server.data.connection import Row
from autogpt_server.data.database import Database
from autogpt_server.data.sealed import read_sealed, sealing
from autogpt_server.errors import TargetNotFound
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.notification import Preferences, Target, TargetKind
from autogpt_server.vault.keyring import Keyring

_COLUMNS = '"id","userId","kind","name","address","secret","isEnabled","createdAt"'


class Targets:
    """Where users want to be told, and how soon.  Blocking."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._db, self._keyring = database, keyring

    def add(self, target: Target) -> None:
        """Store a new one."""
        encrypt = self._keyring.encrypt
        text = f'INSERT INTO "NotificationTarget" ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)'
        with sealing(self._db, self._keyring) as c:
            values = (
                target.id, target.user_id, target.kind.value, target.name, encrypt(target.address),
                None if target.secret is None else encrypt(target.secret), target.is_enabled,
                self._db.to_column(target.created_at),
            )  # fmt: skip
            c.execute(self._db.sql(text), values)

    def get(self, user_id: str, target_id: str) -> Target:
        """Read one.

        Raises:
            TargetNotFound: Unknown, or another user's.
            CannotDecrypt: Its key is lost.
        """
        text = f'SELECT {_COLUMNS} FROM "NotificationTarget" WHERE "id" = ? AND "userId" = ?'
        found = read_sealed(lambda: self._read(text, (target_id, user_id)))
        if not found:
            raise TargetNotFound(target_id)
        return found[0]

    def list(self, user_id: str) -> builtins.list[Target]:
        """Read all of a user's."""
        text = f'SELECT {_COLUMNS} FROM "NotificationTarget" WHERE "userId" = ? ORDER BY "id"'
        return read_sealed(lambda: self._read(text, (user_id,)))

    def enable(self, user_id: str, target_id: str, is_enabled: bool) -> Target:
        """Use one, or use it no more."""
        text = 'UPDATE "NotificationTarget" SET "isEnabled" = ? WHERE "id" = ? AND "userId" = ?'
        with self._db.write() as c:
            c.execute(self._db.sql(text), (is_enabled, target_id, user_id))
        return self.get(user_id, target_id)

    def remove(self, user_id: str, target_id: str) -> None:
        """Delete one; messages that wait for it fail.

        Raises:
            TargetNotFound: Unknown, or another user's.
        """
        text = 'DELETE FROM "NotificationTarget" WHERE "id" = ? AND "userId" = ?'
        with self._db.write() as c:
            if c.execute(self._db.sql(text), (target_id, user_id)).rowcount == 0:
                raise TargetNotFound(target_id)

    def preferences(self, user_id: str) -> Preferences:
        """Read how soon a user wants to be told of what."""
        with self._db.read() as c:
            text = 'SELECT "notificationPreferences","timezone" FROM "User" WHERE "id" = ?'
            row = c.execute(self._db.sql(text), (user_id,)).one()
        return Preferences(loads(row[0]), row[1])

    def prefer(self, user_id: str, chosen: dict[str, str]) -> None:
        """Store how soon a user wants to be told of what; types that are not named have their defaults."""
        with self._db.write() as c:
            text = 'UPDATE "User" SET "notificationPreferences" = ? WHERE "id" = ?'
            c.execute(self._db.sql(text), (dumps(chosen), user_id))

    def _read(self, text: str, values: tuple[str, ...]) -> builtins.list[Target]:
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), values).all()
        return [self._target(row) for row in rows]

    def _target(self, row: Row) -> Target:
        created = self._db.from_column(row[7])
        assert created is not None
        secret = None if row[5] is None else self._keyring.decrypt(row[5])
        address = self._keyring.decrypt(row[4])
        return Target(row[0], row[1], TargetKind(row[2]), row[3], address, secret, bool(row[6]), created)
