"""The ApiKey table: what keys there are, and the hashes of their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.errors import KeyNotFound
from autogpt_server.model import clock
from autogpt_server.model.account import ApiKey
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.principal import Role, Scope

_COLUMNS = (
    'k."id",k."userId",k."name",k."prefix",k."scopes",k."isSetup",k."expiresAt",k."lastUsedAt",k."revokedAt",'
    'k."createdAt"'
)
#: Seconds that a note of when a key was used may wait for other writers: it is not worth more.
_NOTE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key with what is needed to check it."""

    key: ApiKey
    hash: str
    #: Of its user.
    role: Role
    is_user_disabled: bool


class ApiKeys:
    """Reads and writes keys.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def any_made(self) -> bool:
        """Tell whether there ever was a key, one-time tokens left aside."""
        with self._db.read() as c:
            text = self._db.sql('SELECT 1 FROM "ApiKey" WHERE "isSetup" = ? LIMIT 1')
            return c.execute(text, (False,)).first() is not None

    def add(self, key: ApiKey, hash_: str) -> None:
        """Store a new key.  One-time tokens are for the first one, and good for nothing after it."""
        with self._db.write() as c:
            c.execute(self._db.sql('DELETE FROM "ApiKey" WHERE "isSetup" = ?'), (True,))
            self._insert(c, key, hash_)

    def expiry_of(self, key_id: str) -> datetime | None:
        """Read when a key expires; None for never, or for a key that is not there."""
        with self._db.read() as c:
            row = c.execute(self._db.sql('SELECT "expiresAt" FROM "ApiKey" WHERE "id" = ?'), (key_id,)).first()
        return None if row is None else self._db.from_column(row[0])

    def replace_setup(self, token: ApiKey, hash_: str) -> None:
        """Store a one-time token; those before it are good for nothing any more."""
        with self._db.write() as c:
            c.execute(self._db.sql('DELETE FROM "ApiKey" WHERE "isSetup" = ?'), (True,))
            self._insert(c, token, hash_)

    def claim(self, token_id: str, key: ApiKey, hash_: str) -> bool:
        """Exchange a one-time token for a key; tells whether nobody had done so before."""
        with self._db.write() as c:
            text = 'DELETE FROM "ApiKey" WHERE "id" = ? AND "isSetup" = ?'
            if c.execute(self._db.sql(text), (token_id, True)).rowcount == 0:
                return False
            self._insert(c, key, hash_)
        return True

    def find(self, prefix: str) -> StoredKey | None:
        """Read the key with a prefix."""
        text = f"""
SELECT {_COLUMNS}, k."hash", u."role", u."disabledAt" FROM "ApiKey" k JOIN "User" u ON u."id" = k."userId"
WHERE k."prefix" = ?
"""
        with self._db.read() as c:
            row = c.execute(self._db.sql(text), (prefix,)).first()
        return None if row is None else StoredKey(self._key(row), row[10], Role(row[11]), row[12] is not None)

    def list(self, user_id: str | None, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        """Read a page of the keys of a user, or of all users; the newest first."""
        before = cursor_id(cursor)
        conditions, values = ['k."isSetup" = ?'], list[object]([False])
        for column, value in (('k."userId" = ?', user_id), ('k."id" < ?', before)):
            if value is not None:
                conditions.append(column)
                values.append(value)
        text = f'SELECT {_COLUMNS} FROM "ApiKey" k WHERE {" AND ".join(conditions)} ORDER BY k."id" DESC LIMIT ?'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (*values, limit + 1)).all()
        return page_by_id(rows, limit, self._key)

    def revoke(self, key_id: str, user_id: str | None) -> ApiKey:
        """Make a key useless for good; one that is stays as it is.

        Args:
            key_id: Of the key.
            user_id: Whose it must be; None for anybody's.

        Raises:
            KeyNotFound: Unknown, or another user's.
        """
        with self._db.write() as c:
            row = c.execute(self._db.sql(f'SELECT {_COLUMNS} FROM "ApiKey" k WHERE k."id" = ?'), (key_id,)).first()
            if row is None or user_id not in (None, row[1]):
                raise KeyNotFound(key_id)
            text = 'UPDATE "ApiKey" SET "revokedAt" = ? WHERE "id" = ? AND "revokedAt" IS NULL'
            c.execute(self._db.sql(text), (self._db.to_column(clock.now()), key_id))
            row = c.execute(self._db.sql(f'SELECT {_COLUMNS} FROM "ApiKey" k WHERE k."id" = ?'), (key_id,)).one()
        return self._key(row)

    def note_use(self, key_id: str, now: datetime) -> None:
        """Note that a key was used."""
        text = self._db.sql('UPDATE "ApiKey" SET "lastUsedAt" = ? WHERE "id" = ?')
        with self._db.write(durable=False, seconds=_NOTE_SECONDS) as c:
            c.execute(text, (self._db.to_column(now), key_id))

    def _insert(self, c: Connection, key: ApiKey, hash_: str) -> None:
        text = """
INSERT INTO "ApiKey" ("id","userId","name","prefix","hash","scopes","isSetup","expiresAt","createdAt")
VALUES (?,?,?,?,?,?,?,?,?)
"""
        expires, created = self._db.to_column(key.expires_at), self._db.to_column(key.created_at)
        scopes = dumps(sorted(scope.value for scope in key.scopes))
        values = (key.id, key.user_id, key.name, key.prefix, hash_, scopes, key.is_setup, expires, created)
        c.execute(self._db.sql(text), values)

    def _key(self, row: Row) -> ApiKey:
        created = self._db.from_column(row[9])
        assert created is not None
        return ApiKey(
            id=row[0],
            user_id=row[1],
            name=row[2],
            prefix=row[3],
            scopes=frozenset(Scope(text) for text in loads(row[4])),
            is_setup=bool(row[5]),
            expires_at=self._db.from_column(row[6]),
            last_used_at=self._db.from_column(row[7]),
            revoked_at=self._db.from_column(row[8]),
            created_at=created,
        )
