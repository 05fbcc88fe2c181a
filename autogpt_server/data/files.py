"""The FileDefinition table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from autogpt_server.data.connection import Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.errors import FileNotKnown
from autogpt_server.model.file import File
from autogpt_server.model.jsonvalue import dumps, loads

_COLUMNS = (
    '"id","userId","name","mimeType","size","hash","encoding","metadata","storageKey","nodeExecutionId","expiresAt",'
    '"createdAt"'
)


class FileRows:
    """Reads and writes what is known of files.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, *files: File) -> None:
        """Store files whose bytes are stored already."""
        to_column = self._db.to_column
        rows = [
            (
                file.id, file.user_id, file.name, file.mime_type, file.size, file.hash, file.encoding,
                dumps(file.metadata), file.storage_key, file.node_execution_id, to_column(file.expires_at),
                to_column(file.created_at),
            )
            for file in files
        ]  # fmt: skip
        with self._db.write() as c:
            text = f'INSERT INTO "FileDefinition" ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)'
            c.execute(self._db.sql(text), rows)

    def find(self, file_id: str) -> File | None:
        """Read a file, whosever it is; one that is being deleted is none."""
        text = f'SELECT {_COLUMNS} FROM "FileDefinition" WHERE "id" = ? AND "deletedAt" IS NULL'
        with self._db.read() as c:
            row = c.execute(self._db.sql(text), (file_id,)).first()
        return None if row is None else self._file(row)

    def get(self, user_id: str, file_id: str, now: datetime) -> File:
        """Read a file.

        Raises:
            FileNotKnown: Unknown, expired, or another user's.
        """
        file = self.find(file_id)
        if file is None or file.user_id != user_id or file.is_expired(now):
            raise FileNotKnown(file_id)
        return file

    def list(self, user_id: str, now: datetime, *, limit: int, cursor: str | None = None) -> Page[File]:
        """Read a page of a user's files, the newest first."""
        before = cursor_id(cursor)
        where, values = ("", ()) if before is None else (' AND "id" < ?', (before,))
        # So that no index of times is tried: that of the user gives them in order.
        text = f"""
SELECT {_COLUMNS} FROM "FileDefinition" WHERE "userId" = ?{where} AND "deletedAt" IS NULL
AND COALESCE("expiresAt" > ?, TRUE) ORDER BY "id" DESC LIMIT ?
"""
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (user_id, *values, self._db.to_column(now), limit + 1)).all()
        return page_by_id(rows, limit, self._file)

    def total_bytes(self, user_id: str) -> int:
        """Add up the sizes of a user's files."""
        text = 'SELECT COALESCE(SUM("size"), 0) FROM "FileDefinition" WHERE "userId" = ?'
        with self._db.read() as c:
            return int(c.execute(self._db.sql(text), (user_id,)).scalar_one())

    def edit(self, file: File, name: str, expires_at: datetime | None) -> None:
        """Change what a file is called and when it expires."""
        text = 'UPDATE "FileDefinition" SET "name" = ?, "expiresAt" = ?, "expiredSeenAt" = NULL WHERE "id" = ?'
        with self._db.write() as c:
            c.execute(self._db.sql(text), (name, self._db.to_column(expires_at), file.id))

    def mark_deleted(self, file_id: str, now: datetime) -> None:
        """Hide a file whose bytes are about to be deleted."""
        text = 'UPDATE "FileDefinition" SET "deletedAt" = ? WHERE "id" = ?'
        with self._db.write() as c:
            c.execute(self._db.sql(text), (self._db.to_column(now), file_id))

    def remove(self, ids: Sequence[str]) -> None:
        """Forget files whose bytes are gone."""
        if ids:
            with self._db.write() as c:
                c.execute(
                    self._db.sql(f'DELETE FROM "FileDefinition" WHERE "id" {self._db.among}'), (self._db.to_list(ids),)
                )

    def mark_expired(self, now: datetime) -> None:
        """Note of which files the time is over, and take it back of those whose time is not over after all."""
        at = self._db.to_column(now)
        with self._db.write() as c:
            c.execute(
                self._db.sql(
                    'UPDATE "FileDefinition" SET "expiredSeenAt" = ? WHERE "expiresAt" <= ? AND "expiredSeenAt" IS NULL'
                ),
                (at, at),
            )
            c.execute(
                self._db.sql(
                    'UPDATE "FileDefinition" SET "expiredSeenAt" = NULL '
                    'WHERE "expiresAt" > ? AND "expiredSeenAt" IS NOT NULL'
                ),
                (at,),
            )

    def to_delete(self, now: datetime, seen_before: datetime, *, after: str, limit: int) -> list[File]:
        """Read files to be deleted, by id: deleted by their users, or expired and found so before some time."""
        text = f"""
SELECT {_COLUMNS} FROM "FileDefinition" WHERE "id" > ? AND ("deletedAt" IS NOT NULL
OR ("expiresAt" <= ? AND "expiredSeenAt" <= ?)) ORDER BY "id" LIMIT ?
"""
        values = (after, self._db.to_column(now), self._db.to_column(seen_before), limit)
        with self._db.read() as c:
            return [self._file(row) for row in c.execute(self._db.sql(text), values)]

    def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Tell which keys of the storage are those of files."""
        text = f'SELECT "storageKey" FROM "FileDefinition" WHERE "storageKey" {self._db.among}'
        with self._db.read() as c:
            return set(c.execute(self._db.sql(text), (self._db.to_list(keys),)).scalars())

    def now_of_database(self) -> datetime | None:
        """Tell what time it is by the database's clock; None where that is ours."""
        if self._db.provider == "sqlite":
            return None
        with self._db.read() as c:
            return c.execute("SELECT now()").scalar_one()

    def _file(self, row: Row) -> File:
        moment = self._db.from_column
        created = moment(row[11])
        assert created is not None
        metadata: dict[str, Any] = loads(row[7])
        return File(
            id=row[0],
            user_id=row[1],
            name=row[2],
            mime_type=row[3],
            size=row[4],
            hash=row[5],
            encoding=row[6],
            metadata=metadata,
            storage_key=row[8],
            node_execution_id=row[9],
            expires_at=moment(row[10]),
            created_at=created,
        )
