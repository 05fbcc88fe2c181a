"""The keys under which secrets are stored and links are signed: a file that only the server's account may read."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.settings import Settings

# Where it is used it is imported: it takes longer than most, and most processes never need it.
if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_FIX = "put back the file from where you keep copies of it, or set AUTOGPT_SECRET_KEYS"


class CannotDecrypt(Unavailable):
    """What was stored was encrypted under a key that is not here."""


class Keyring:
    """Encrypts under the first key, and decrypts under any.  Safe for threads; notices when the file changes.

    Args:
        path: The file, one key on each line.
        given: Keys that a setting gives instead of the file.
        may_make: Asked before a missing file is made: whether nothing is stored yet that was encrypted.
    """

    def __init__(self, path: Path, given: tuple[str, ...] = (), may_make: Callable[[], bool] = lambda: True) -> None:
        self._path, self._given, self._may_make = path, given, may_make
        self._lock = threading.Lock()
        self._read_at: tuple[int, int, int, int] | None = None
        self._keys: list[bytes] = []
        self._fernet: MultiFernet | None = None

    @classmethod
    def from_settings(cls, settings: Settings, may_make: Callable[[], bool] = lambda: True) -> Keyring:
        given = () if settings.secret_keys is None else tuple(settings.secret_keys.get_secret_value().split(","))
        return cls(key_path(settings), tuple(key.strip() for key in given if key.strip()), may_make)

    @property
    def path(self) -> Path:
        """The file, whether the keys are in it or not."""
        return self._path

    @property
    def is_given(self) -> bool:
        """Whether a setting gives the keys, instead of a file."""
        return bool(self._given)

    @property
    def keys(self) -> list[bytes]:
        """The keys; the first one encrypts.

        Raises:
            InvalidError: They are missing or bad, or others can read the file; says what to do.
        """
        with self._lock:
            return list(self._load())

    def encrypt(self, text: str) -> str:
        """Encrypt a text; every time to another result."""
        return self._load_fernet().encrypt(text.encode()).decode("ascii")

    def decrypt(self, token: str) -> str:
        """Give back what was encrypted.

        Raises:
            CannotDecrypt: It was encrypted under another key, or somebody changed it.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._load_fernet().decrypt(token.encode("ascii", "replace")).decode()
        except InvalidToken:
            raise CannotDecrypt(
                f"a stored secret cannot be decrypted: its key is not in {self._source()}; {_FIX}"
            ) from None

    def is_current(self, token: str) -> bool:
        """Tell whether something was encrypted under the key that encrypts now."""
        from cryptography.fernet import Fernet, InvalidToken

        try:
            Fernet(self.keys[0]).decrypt(token.encode("ascii", "replace"))
        except InvalidToken:
            return False
        return True

    def sign(self, text: str, purpose: str) -> str:
        """Give a signature that only this server can make."""
        return _signature(self.keys[0], text, purpose)

    def is_signed(self, text: str, purpose: str, signature: str) -> bool:
        """Tell whether a signature is one of this server, for this text and purpose."""
        given = signature.encode("utf-8", "replace")
        return any(hmac.compare_digest(_signature(key, text, purpose).encode(), given) for key in self.keys)

    def replace(self, keys: list[bytes]) -> None:
        """Write other keys into the file, at once.

        Raises:
            InvalidError: The keys come from a setting.
        """
        if self._given:
            problem = Problem("AUTOGPT_SECRET_KEYS", "gives the keys", "add the new key there as the first one")
            raise InvalidError("The keys are not in a file.", [problem])
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        _write(draft, keys, like=os.stat(self._path))
        os.replace(draft, self._path)
        _sync_folder(self._path.parent)

    def _load_fernet(self) -> MultiFernet:
        with self._lock:
            self._load()
            assert self._fernet is not None
            return self._fernet

    def _load(self) -> list[bytes]:
        """Read the keys where they are new; the caller holds the lock."""
        if self._given:
            if not self._keys:
                self._take([key.encode() for key in self._given])
            return self._keys
        try:
            return self._load_file()
        except OSError as error:
            problem = Problem(str(self._path), f"cannot be read: {error.strerror}", "give it to the server's account")
            raise InvalidError("The key file cannot be used.", [problem]) from None

    def _load_file(self) -> list[bytes]:
        try:
            state = os.stat(self._path)
        except FileNotFoundError:
            self._make()
            state = os.stat(self._path)
        mark = (state.st_mtime_ns, state.st_ino, state.st_size, state.st_mode)
        if mark != self._read_at:
            if stat.S_IMODE(state.st_mode) & 0o077:
                problem = Problem(str(self._path), "can be read by others", f"chmod 600 {self._path}")
                raise InvalidError("The key file is not safe.", [problem])
            self._take(self._path.read_bytes().split())
            self._read_at = mark
        return self._keys

    def _take(self, keys: list[bytes]) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            problem = Problem(self._source(), "holds no keys, or one that is none", _FIX)
            raise InvalidError("The keys of this server cannot be used.", [problem]) from None
        self._keys = keys

    def _make(self) -> None:
        if not self._may_make():
            problem = Problem(str(self._path), "is gone, and secrets are stored that only it can open", _FIX)
            raise InvalidError("The key file is lost.", [problem])
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        _write(draft, [new_key()])
        try:
            # Fails where another process was quicker: its key is the one.
            with contextlib.suppress(FileExistsError):
                os.link(draft, self._path)
        finally:
            draft.unlink()
        _sync_folder(self._path.parent)

    def _source(self) -> str:
        return "AUTOGPT_SECRET_KEYS" if self._given else str(self._path)


def new_key() -> bytes:
    """Make a key that nobody can guess."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key()


def key_path(settings: Settings) -> Path:
    """Where the key file of a data folder is."""
    return settings.data_dir / "keys" / "secret.keys"


def _write(path: Path, keys: list[bytes], like: os.stat_result | None = None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        if like is not None and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            # Of whoever runs the server, which must go on reading it.
            os.fchown(descriptor, like.st_uid, like.st_gid)
        file.write(b"\n".join(keys) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _signature(key: bytes, text: str, purpose: str) -> str:
    # A key of its own for each purpose, none of them the one that encrypts (RFC 5869 with one block).
    derived = hmac.digest(hashlib.sha256(key).digest(), f"autogpt {purpose}\x01".encode(), "sha256")
    digest = hmac.digest(derived, text.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
