"""The Credential table.  What credentials hold is encrypted, and leaves this file only for whoever uses them."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from autogpt_server.data.connection import Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.data.sealed import read_sealed, sealing
from autogpt_server.errors import CredentialsNotFound
from autogpt_server.model import clock
from autogpt_server.model.credentials import Credentials, Secrets, parse_secrets, written_out
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.vault.keyring import Keyring

_COLUMNS = '"id","userId","provider","type","title","scopes","expiresAt","problem","revision","createdAt","updatedAt"'


class Opened(NamedTuple):
    """Credentials with what they hold."""

    credentials: Credentials
    held: Secrets


class CredentialRows:
    """Reads and writes credentials.  Blocking."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._db, self._keyring = database, keyring

    def add(self, credentials: Credentials, held: Secrets) -> None:
        """Store new ones."""
        one = credentials
        text = f"""
INSERT INTO "Credential" ({_COLUMNS},"secret") VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
"""
        with sealing(self._db, self._keyring) as c:
            values = (
                one.id, one.user_id, one.provider, one.type, one.title, dumps(one.scopes),
                self._db.to_column(one.expires_at), one.problem, one.revision, self._db.to_column(one.created_at),
                self._db.to_column(one.updated_at), self._sealed(held),
            )  # fmt: skip
            c.execute(self._db.sql(text), values)

    def get(self, user_id: str, id_: str) -> Credentials:
        """Read what is known of a user's credentials.

        Raises:
            CredentialsNotFound: Unknown, or another user's.
        """
        text = f'SELECT {_COLUMNS} FROM "Credential" WHERE "id" = ? AND "userId" = ?'
        with self._db.read() as c:
            row = c.execute(self._db.sql(text), (id_, user_id)).first()
        if row is None:
            raise CredentialsNotFound(id_)
        return self._credentials(row)

    def open(self, user_id: str, id_: str) -> Opened:
        """Read a user's credentials with what they hold.

        Raises:
            CredentialsNotFound: Unknown, or another user's.
            CannotDecrypt: Their key is lost.
        """
        return read_sealed(lambda: self._open(user_id, id_))

    def list(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[Credentials]:
        """Read a page of a user's, the newest first."""
        before = cursor_id(cursor)
        where, values = ("", ()) if before is None else (' AND "id" < ?', (before,))
        text = f'SELECT {_COLUMNS} FROM "Credential" WHERE "userId" = ?{where} ORDER BY "id" DESC LIMIT ?'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (user_id, *values, limit + 1)).all()
        return page_by_id(rows, limit, self._credentials)

    def find(self, user_id: str, ids: Sequence[str]) -> builtins.list[Credentials]:
        """Read those of these that are the user's."""
        text = f'SELECT {_COLUMNS} FROM "Credential" WHERE "userId" = ? AND "id" {self._db.among}'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (user_id, self._db.to_list(ids))).all()
        return [self._credentials(row) for row in rows]

    def edit(self, user_id: str, id_: str, title: str | None, held: Secrets | None) -> Credentials:
        """Give another title, or replace what they hold; None leaves as it is.

        Raises:
            CredentialsNotFound: Unknown, or another user's.
        """
        # A title alone needs no keys.
        with self._db.write() if held is None else sealing(self._db, self._keyring) as c:
            changes: dict[str, Any] = {} if title is None else {"title": title}
            if held is not None:
                changes |= {"secret": self._sealed(held), "problem": None}
            sets = "".join(f'"{name}" = ?, ' for name in changes)
            # A refresh that is under way goes on under another title, and not with another secret.
            sets += "" if held is None else '"revision" = "revision" + 1, '
            text = f'UPDATE "Credential" SET {sets}"updatedAt" = ? WHERE "id" = ? AND "userId" = ?'
            values = (*changes.values(), self._db.to_column(clock.now()), id_, user_id)
            if c.execute(self._db.sql(text), values).rowcount == 0:
                raise CredentialsNotFound(id_)
        return self.get(user_id, id_)

    def remove(self, user_id: str, id_: str) -> None:
        """Delete some.

        Raises:
            CredentialsNotFound: Unknown, or another user's.
        """
        text = 'DELETE FROM "Credential" WHERE "id" = ? AND "userId" = ?'
        with self._db.write() as c:
            if c.execute(self._db.sql(text), (id_, user_id)).rowcount == 0:
                raise CredentialsNotFound(id_)

    def begin_refresh(self, id_: str, revision: int, holder: str, now: datetime, until: datetime) -> bool:
        """Take it on to refresh an access token; tells whether nobody else is at it, or was quicker.

        Args:
            id_: Of the credentials.
            revision: At which they are to be refreshed.
            holder: Who refreshes.
            now: The time.
            until: When somebody else may try.
        """
        text = """
UPDATE "Credential" SET "refreshHolder" = ?, "refreshLockedUntil" = ?
WHERE "id" = ? AND "revision" = ? AND ("refreshLockedUntil" IS NULL OR "refreshLockedUntil" < ?)
"""
        at, end = self._db.to_column(now), self._db.to_column(until)
        with self._db.write() as c:
            return c.execute(self._db.sql(text), (holder, end, id_, revision, at)).rowcount == 1

    def end_refresh(self, id_: str, revision: int, held: Secrets, expires_at: datetime | None) -> bool:
        """Store what a provider gave for what there was at a revision; tells whether that is what there still is.

        Also when the time for it was over, and somebody else has begun: what they sent is void by this.
        """
        text = """
UPDATE "Credential" SET "secret" = ?, "expiresAt" = ?, "problem" = NULL, "refreshHolder" = NULL,
"refreshLockedUntil" = NULL, "revision" = "revision" + 1, "updatedAt" = ? WHERE "id" = ? AND "revision" = ?
"""
        with sealing(self._db, self._keyring) as c:
            now = self._db.to_column(clock.now())
            values = (self._sealed(held), self._db.to_column(expires_at), now, id_, revision)
            return c.execute(self._db.sql(text), values).rowcount == 1

    def fail_refresh(self, id_: str, holder: str, problem: str | None) -> None:
        """Let somebody else try; or, with a problem, note that nobody can refresh them any more."""
        text = """
UPDATE "Credential" SET "problem" = COALESCE(?, "problem"), "refreshHolder" = NULL, "refreshLockedUntil" = NULL
WHERE "id" = ? AND "refreshHolder" = ?
"""
        with self._db.write() as c:
            c.execute(self._db.sql(text), (problem, id_, holder))

    def reconnect(
        self, user_id: str, id_: str, provider: str, held: Secrets, scopes: Sequence[str], expires_at: datetime | None
    ) -> Credentials:
        """Give credentials what came of another login with their provider.

        Raises:
            CredentialsNotFound: Unknown, another user's, or of another provider.
        """
        text = """
UPDATE "Credential" SET "secret" = ?, "scopes" = ?, "expiresAt" = ?, "problem" = NULL, "refreshHolder" = NULL,
"refreshLockedUntil" = NULL, "revision" = "revision" + 1, "updatedAt" = ?
WHERE "id" = ? AND "userId" = ? AND "provider" = ? AND "type" = 'oauth2'
"""
        with sealing(self._db, self._keyring) as c:
            times = self._db.to_column(expires_at), self._db.to_column(clock.now())
            values = (self._sealed(held), dumps(scopes), *times, id_, user_id, provider)
            if c.execute(self._db.sql(text), values).rowcount == 0:
                raise CredentialsNotFound(id_)
        return self.get(user_id, id_)

    def _open(self, user_id: str, id_: str) -> Opened:
        text = f'SELECT {_COLUMNS},"secret" FROM "Credential" WHERE "id" = ? AND "userId" = ?'
        with self._db.read() as c:
            row = c.execute(self._db.sql(text), (id_, user_id)).first()
        if row is None:
            raise CredentialsNotFound(id_)
        return Opened(self._credentials(row), parse_secrets(loads(self._keyring.decrypt(row[11]))))

    def _sealed(self, held: Secrets) -> str:
        return self._keyring.encrypt(dumps(written_out(held)))

    def _credentials(self, row: Row) -> Credentials:
        created, updated = self._db.from_column(row[9]), self._db.from_column(row[10])
        assert created is not None and updated is not None
        return Credentials(
            id=row[0],
            user_id=row[1],
            provider=row[2],
            type=row[3],
            title=row[4],
            scopes=tuple(loads(row[5])),
            expires_at=self._db.from_column(row[6]),
            problem=row[7],
            revision=row[8],
            created_at=created,
            updated_at=updated,
        )
