"""Where files' bytes are kept: a local folder, or a bucket, by address.  Knows keys and bytes, nothing of users."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, cast
from urllib.parse import urlsplit

import fsspec

from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.model.jsonvalue import loads
from autogpt_server.settings import Settings

#: By scheme of an address: the package that it needs, and the extra that installs it.
_PACKAGES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "az": ("adlfs", "azure"), "memory": ("fsspec", "")}
#: Seconds that a bucket may take to answer one request, and tries of one.
_TIMEOUT, _TRIES = 30, 3


# fsspec has no types.
_filesystem = cast(Any, fsspec).filesystem


class StoredObject(NamedTuple):
    key: str
    modified_at: datetime


class Store:
    """Objects by key.  Blocking: call it in threads.

    Every method raises ``Unavailable`` where the storage refuses or does not answer.

    Args:
        filesystem: Of fsspec.
        root: Folder or bucket and prefix, without a slash at the end.
        is_local: Whether it is a folder of this machine.
    """

    def __init__(self, filesystem: Any, root: str, *, is_local: bool) -> None:
        self._files, self._root, self._is_local = filesystem, root, is_local

    @classmethod
    def from_settings(cls, settings: Settings) -> Store:
        """Open the storage of the settings; nothing is asked of it yet.

        Raises:
            InvalidError: The address is none of those that are known, or a package is missing; names the fix.
        """
        url = settings.storage_url
        parts = urlsplit(url) if url else None
        if parts is None or parts.scheme in ("", "file"):
            path = settings.data_dir / "storage" if parts is None else Path(parts.path)
            if not path.is_absolute():
                problem = Problem("AUTOGPT_STORAGE_URL", f"{url!r} is no absolute path", "write file:///srv/files")
                raise InvalidError("The storage cannot be used.", [problem])
            return cls(_filesystem("file"), str(path), is_local=True)
        return cls(_remote(parts.scheme, settings), f"{parts.netloc}{parts.path}".rstrip("/"), is_local=False)

    @contextlib.contextmanager
    def write(self, key: str) -> Generator[IO[bytes]]:
        """Open an object for writing; it is there as a whole after the block, and not at all after an error."""
        path = self._path(key)
        with _answering(is_write=True):
            if self._is_local:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                with _local_draft(path) as file:
                    yield file
                return
            file: Any = self._files.open(path, "wb")
            try:
                yield file
            except BaseException:
                # Without this, closing it would store what has come so far.
                with contextlib.suppress(Exception):
                    file.discard()
                file.closed = True
                raise
            file.close()

    @contextlib.contextmanager
    def read(self, key: str) -> Generator[IO[bytes]]:
        """Open an object for reading, at any place.

        Raises:
            FileNotFoundError: There is none.
        """
        with _answering():
            with self._files.open(self._path(key), "rb") as file:
                yield file

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there stays so."""
        with _answering(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(key))

    def exists(self, key: str) -> bool:
        with _answering():
            return bool(self._files.exists(self._path(key)))

    def objects(self) -> Iterator[StoredObject]:
        """Go through everything that is stored, drafts of broken uploads included."""
        with _answering():
            if not self._is_local and not self._files.exists(self._root):
                return
            for folder, _, found in self._files.walk(self._root, detail=True):
                for name, facts in found.items():
                    key = f"{folder}/{name}"[len(self._root) + 1 :]
                    yield StoredObject(key, _modified(facts))

    def _path(self, key: str) -> str:
        # Keys are made of ids, never of what people write; this is the second fence.
        if not key or any(step in ("", ".", "..") for step in key.split("/")) or "\0" in key or "\\" in key:
            raise ValueError(f"{key!r} is no key of the storage")
        return f"{self._root}/{key}"


@contextlib.contextmanager
def _local_draft(path: str) -> Generator[IO[bytes]]:
    draft = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.part"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _remote(scheme: str, settings: Settings) -> Any:
    package, extra = _PACKAGES.get(scheme, ("", ""))
    if not package:
        known = "file:///, s3://, gs:// or az://"
        problem = Problem("AUTOGPT_STORAGE_URL", f"{scheme}:// is not known", f"begin it with {known}")
        raise InvalidError("The storage cannot be used.", [problem])
    if importlib.util.find_spec(package) is None:
        fix = f"pip install 'autogpt-server[{extra}]'"
        problem = Problem("AUTOGPT_STORAGE_URL", f"{scheme}:// needs the package {package}", fix)
        raise InvalidError("The storage cannot be used.", [problem])
    given = settings.storage_options
    options: dict[str, Any] = {} if given is None else loads(given.get_secret_value())
    if scheme == "s3":
        limits = {"connect_timeout": _TIMEOUT, "read_timeout": _TIMEOUT, "retries": {"max_attempts": _TRIES}}
        options = {"config_kwargs": limits, **options}
    # Listings that are remembered would hide what other servers have stored.
    return _filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **options)


def _modified(facts: dict[str, Any]) -> datetime:
    found = facts.get("mtime") or facts.get("LastModified") or facts.get("updated") or facts.get("last_modified")
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if isinstance(found, datetime):
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return datetime.fromtimestamp(float(found or 0), UTC)


@contextlib.contextmanager
def _answering(*, is_write: bool = False) -> Generator[None]:
    """Turn what a storage raises into what is told: it is away, or refuses."""
    try:
        yield
    except FileNotFoundError as error:
        if not is_write:
            raise
        raise Unavailable(f"the storage refused: {error}; does the bucket exist?") from error
    except (InvalidError, ValueError):
        raise
    except OSError as error:
        raise Unavailable(f"the storage refused: {error.strerror or error}") from error
    except Exception as error:
        # Each kind of bucket has errors of its own, which share no class.
        if not type(error).__module__.startswith(_FOREIGN):
            raise
        raise Unavailable(f"the storage did not answer: {error}") from error


_FOREIGN = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "adlfs", "fsspec", "s3fs")
