"""A user's folder on the local disk, which no path of a block leaves: not by "..", not by a symbolic link.

Every step of a path is opened relative to the one before without following links, so nothing can be swapped
between a check and its use.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator
from pathlib import Path, PurePosixPath

from autogpt_server.errors import BlockError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UserFiles:
    """Reads and writes files below one folder.  Blocking."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root, self._max_bytes = root, max_bytes

    def read(self, path: str) -> bytes:
        """Read a whole file.

        Raises:
            BlockError: It is outside the folder, missing, no plain file, or larger than the limit.
        """
        with self._parent(path, create=False) as (folder, name):
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise _refused(path, error) from None
        size = _plain_file_size(descriptor, path)
        with open(descriptor, "rb") as file:
            if size > self._max_bytes:
                raise BlockError(f"file {path!r} has {size:,} bytes; the limit is {self._max_bytes:,}")
            return file.read(self._max_bytes)

    def write(self, path: str, data: bytes, *, append: bool = False) -> int:
        """Write a file, making its folders, and return its size in bytes.  A whole file is replaced at once.

        Raises:
            BlockError: It is outside the folder, no plain file, or would grow beyond the limit.
        """
        if len(data) > self._max_bytes:
            raise BlockError(f"file {path!r} would have {len(data):,} bytes; the limit is {self._max_bytes:,}")
        with self._parent(path, create=True) as (folder, name):
            try:
                return self._append(folder, name, path, data) if append else self._replace(folder, name, data)
            except OSError as error:
                raise _refused(path, error) from None

    def _append(self, folder: int, name: str, path: str, data: bytes) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        size = _plain_file_size(descriptor, path) + len(data)
        with open(descriptor, "ab") as file:
            if size > self._max_bytes:
                raise BlockError(f"file {path!r} would have {size:,} bytes; the limit is {self._max_bytes:,}")
            file.write(data)
        return size

    def _replace(self, folder: int, name: str, data: bytes) -> int:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise IsADirectoryError
        draft = f".{name[:100]}.{os.getpid()}.{os.urandom(4).hex()}.part"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            with open(descriptor, "wb") as file:
                file.write(data)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            raise
        return len(data)

    @contextlib.contextmanager
    def _parent(self, path: str, *, create: bool) -> Generator[tuple[int, str]]:
        """Open the folder that holds a path, step by step below the root."""
        steps = _steps(path)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for step in steps[:-1]:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(step, 0o700, dir_fd=folder)
                try:
                    inner = os.open(step, _DIRECTORY, dir_fd=folder)
                except OSError as error:
                    raise _refused(path, error) from None
                os.close(folder)
                folder = inner
            yield folder, steps[-1]
        finally:
            os.close(folder)


def _plain_file_size(descriptor: int, path: str) -> int:
    """Return the size of an open file; closes it and refuses when it is a folder, a pipe or a device."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise BlockError(f"{path!r} is no plain file")
    return status.st_size


def _steps(path: str) -> list[str]:
    if "\0" in path:
        raise BlockError("a file path holds a NUL character")
    pure = PurePosixPath(path)
    steps = [step for step in pure.parts if step != "."]
    if pure.is_absolute() or not steps or ".." in steps:
        raise BlockError(f"file path {path!r} leaves the user's folder; use a path relative to it, without '..'")
    return steps


def _refused(path: str, error: OSError) -> BlockError:
    match error:
        case FileNotFoundError():
            return BlockError(f"no file {path!r} in the user's folder")
        case NotADirectoryError() | IsADirectoryError():
            return BlockError(f"{path!r} is no plain file below the user's folder")
        case _:
            return BlockError(f"file {path!r} cannot be opened: {os.strerror(error.errno or 0)}")
