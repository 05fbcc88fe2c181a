"""The text of keys: made, taken apart, hashed and compared."""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_KEY = re.compile(r"agk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class KeyText(NamedTuple):
    """A key as it is sent: a prefix by which it is found, and 256 random bits."""

    prefix: str
    secret: str

    def __str__(self) -> str:
        return f"agk_{self.prefix}_{self.secret}"


def new_key_text() -> KeyText:
    """Make a key that nobody can guess."""
    return KeyText("".join(secrets.choice(_LETTERS) for _ in range(12)), secrets.token_urlsafe(32))


def parse_key_text(text: str) -> KeyText | None:
    """Take a key apart; None for what is none."""
    match = _KEY.fullmatch(text)
    return None if match is None else KeyText(match[1], match[2])


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    # Cheap: nobody tries through 256 random bits, however quick each try is.
    return PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)


def hash_secret(secret: str) -> str:
    """Hash a secret with argon2id and a salt of its own."""
    return _hasher().hash(secret)


def is_secret(secret: str, hash_: str) -> bool:
    """Tell whether a hash is that of a secret."""
    try:
        return _hasher().verify(hash_, secret)
    except (VerificationError, InvalidHashError):
        return False
