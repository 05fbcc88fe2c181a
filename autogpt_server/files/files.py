"""Users' files: taken in as they come, read by whoever owns them, deleted."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import IO, Any

from autogpt_server.data.database import Database
from autogpt_server.data.files import FileRows
from autogpt_server.errors import BlockError, FileNotKnown, InvalidError, Problem, ServerError, TooLarge, Unavailable
from autogpt_server.files.mime import HEAD_BYTES, check_mime_type
from autogpt_server.model import clock
from autogpt_server.model.file import File, FileValue
from autogpt_server.model.ids import is_uuid, new_id
from autogpt_server.settings import Settings
from autogpt_server.storage.store import Store

_MAX_NAME = 255
#: Bytes that are read at once.
CHUNK = 256 * 1024
#: What the column of a size holds.
_MAX_SIZE = 2**31 - 1


class Files:
    """Files of all users.  Blocking: call in threads.

    Args:
        settings: Limits, and where the storage is.
        database: Where the rows are.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.rows = FileRows(database)
        self._settings = settings
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The storage, opened when it is first needed.

        Raises:
            InvalidError: The setting for it is wrong.
        """
        if self._store is None:
            self._store = Store.from_settings(self._settings)
        return self._store

    def begin(
        self,
        user_id: str,
        name: str,
        mime_type: str | None = None,
        *,
        expires_at: datetime | None = None,
        node_execution_id: str | None = None,
    ) -> Upload:
        """Begin to take in a file; feed it, and finish or abort it.

        Raises:
            InvalidError: The name or the time is wrong; names the field.
            TooLarge: The user has as many bytes as may be.
        """
        check_name(name)
        if expires_at is not None and expires_at <= clock.now():
            raise InvalidError(
                "The file was refused.", [Problem("expires_at", "lies in the past", "give a time that is to come")]
            )
        most = self._settings.max_upload_bytes
        if self._settings.max_bytes_per_user is not None:
            left = self._settings.max_bytes_per_user - self.rows.total_bytes(user_id)
            if left <= 0:
                raise TooLarge(f"Your files have {self._settings.max_bytes_per_user:,} bytes, as many as they may.")
            most = min(most, left)
        return Upload(self, user_id, name, mime_type, expires_at, node_execution_id, min(most, _MAX_SIZE))

    def add(self, user_id: str, name: str, data: bytes, mime_type: str | None = None, **more: Any) -> File:
        """Take in a file that is there as a whole; see ``begin``."""
        upload = self.begin(user_id, name, mime_type, **more)
        try:
            upload.feed(data)
            return upload.finish()
        except BaseException:
            upload.abort()
            raise

    @contextlib.contextmanager
    def open(self, file: File) -> Generator[IO[bytes]]:
        """Open the bytes of a file, at any place.

        Raises:
            Unavailable: The storage does not answer, or has lost them.
        """
        try:
            with self.store.read(file.storage_key) as opened:
                yield opened
        except FileNotFoundError:
            raise Unavailable(f"the bytes of file {file.id} are not in the storage any more") from None

    def chunks(self, file: File, first: int, last: int) -> Iterator[bytes]:
        """Read bytes from the first to the last one, both included, piece by piece."""
        with self.open(file) as opened:
            opened.seek(first)
            left = last - first + 1
            while left > 0 and (chunk := opened.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
            if left > 0:
                raise Unavailable(f"the storage has fewer bytes of file {file.id} than there were")

    def edit(self, user_id: str, file_id: str, changes: dict[str, Any]) -> File:
        """Change the ``name`` of a file, or ``expires_at``.

        Raises:
            FileNotKnown: Unknown, expired, or another user's.
            InvalidError: The name is wrong.
        """
        file = self.rows.get(user_id, file_id, clock.now())
        if "name" in changes:
            check_name(changes["name"])
        self.rows.edit(file, changes.get("name", file.name), changes.get("expires_at", file.expires_at))
        return self.rows.get(user_id, file_id, clock.now())

    def delete(self, user_id: str, file_id: str) -> None:
        """Delete a file.  Where the storage does not answer, a later clean-up deletes its bytes.

        Raises:
            FileNotKnown: Unknown, expired, or another user's.
        """
        file = self.rows.get(user_id, file_id, clock.now())
        self.rows.mark_deleted(file.id, clock.now())
        with contextlib.suppress(Unavailable):
            self.store.delete(file.storage_key)
            self.rows.remove([file.id])


class Upload:
    """A file that is coming in.  Nobody knows of it before it is whole; what a crash leaves a clean-up removes."""

    def __init__(
        self,
        files: Files,
        user_id: str,
        name: str,
        mime_type: str | None,
        expires_at: datetime | None,
        node_execution_id: str | None,
        max_bytes: int,
    ) -> None:
        self._files, self._user_id, self._name, self._declared = files, user_id, name, mime_type
        self._expires_at, self._node_execution_id, self._max_bytes = expires_at, node_execution_id, max_bytes
        self._id = new_id()
        self._key = f"{user_id}/{self._id}"
        self._head, self._size, self._hash = b"", 0, hashlib.sha256()
        self._stack, self._target = ExitStack(), None

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLarge: There are too many; nothing of the file stays.
            Unavailable: The storage does not take them.
        """
        self._size += len(data)
        if self._size > self._max_bytes:
            raise TooLarge(f"The file is larger than {self._max_bytes:,} bytes, the most that may be.")
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._hash.update(data)
        self._opened().write(data)

    def finish(self) -> File:
        """Store what has come, and return it.

        Raises:
            InvalidError: Its bytes are of another type than was said; nothing of the file stays.
            Unavailable: The storage or the database did not take it.
        """
        mime_type = check_mime_type(self._head, self._declared, self._name)
        self._opened()
        self._stack.close()
        file = File(
            id=self._id,
            user_id=self._user_id,
            name=self._name,
            mime_type=mime_type,
            size=self._size,
            hash=self._hash.hexdigest(),
            encoding="utf-8" if mime_type.startswith("text/") and _is_utf8(self._head) else None,
            metadata={},
            storage_key=self._key,
            node_execution_id=self._node_execution_id,
            expires_at=self._expires_at,
            created_at=clock.from_ms(clock.now_ms()),
        )
        self._files.rows.add(file)
        return file

    def abort(self) -> None:
        """Leave nothing of it.  Harmless after the end."""
        with contextlib.suppress(_Aborted):
            with self._stack.pop_all():
                raise _Aborted

    def _opened(self) -> IO[bytes]:
        if self._target is None:
            self._target = self._stack.enter_context(self._files.store.write(self._key))
        return self._target


class _Aborted(Exception):
    """Ends a write without storing anything."""


class UserStorage:
    """The stored files of one user, for a block.  Errors are those of blocks."""

    def __init__(self, files: Files, user_id: str, max_bytes: int) -> None:
        self._files, self._user_id, self._max_bytes = files, user_id, max_bytes

    def read(self, value: FileValue) -> bytes:
        """Read a file that a pin has received."""
        try:
            file = self._get(value)
            if file.size > self._max_bytes:
                raise BlockError(f"file {file.id} has {file.size:,} bytes; the limit is {self._max_bytes:,}")
            with self._files.open(file) as opened:
                return opened.read()
        except ServerError as error:
            raise _for_block(error) from error

    def store(self, name: str, data: bytes, mime_type: str | None, node_execution_id: str) -> FileValue:
        """Store a file that a block has made."""
        try:
            stored = self._files.add(self._user_id, name, data, mime_type, node_execution_id=node_execution_id)
        except ServerError as error:
            raise _for_block(error) from error
        return FileValue.of(stored)

    def _get(self, value: FileValue) -> File:
        if not is_uuid(value.id):
            raise FileNotKnown(value.id[:100])
        return self._files.rows.get(self._user_id, value.id, clock.now())


def _for_block(error: ServerError) -> BlockError:
    if isinstance(error, BlockError):
        return error
    if isinstance(error, InvalidError):
        return BlockError("; ".join(f"{problem.path} {problem.message}" for problem in error.problems) or str(error))
    return BlockError(str(error))


def check_name(name: str) -> None:
    """Refuse what is no name of a file.  It never becomes a path here; it may where it is downloaded to.

    Raises:
        InvalidError: It is none.
    """
    if not 0 < len(name) <= _MAX_NAME or name in (".", "..") or not name.isprintable() or set(name) & set("/\\"):
        message = f"has no or more than {_MAX_NAME} characters, or a slash, or some that do not print"
        raise InvalidError("The file was refused.", [Problem("name", message, "give a plain name like report.pdf")])


def _is_utf8(head: bytes) -> bool:
    try:
        # The last character may be cut.
        head[: len(head) - 4 if len(head) >= HEAD_BYTES else None].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
