"""Idempotency keys: what a user sends with a request, so that sending it again accepts nothing again."""

from __future__ import annotations

from autogpt_server.errors import InvalidError, Problem

#: Characters of a key.
MAX_KEY = 255
#: Between the key of a batch and the place of one of its executions.  No printable character, so in no key.
_SEPARATOR = "\x1f"


def check_key(key: str) -> None:
    """Raise InvalidError where a key is none."""
    if not key:
        reason = "is empty"
    elif len(key) > MAX_KEY:
        reason = f"has {len(key):,} characters, the limit is {MAX_KEY}"
    elif not key.isprintable():
        reason = "holds characters that cannot be printed"
    else:
        return
    problem = Problem("Idempotency-Key", reason, f"send 1 to {MAX_KEY} printable characters, a UUID for example")
    raise InvalidError("The idempotency key was refused.", [problem])


def key_in_batch(key: str, place: int) -> str:
    """Give the key of one execution of a batch."""
    return f"{key}{_SEPARATOR}{place}"


def keys_after(key: str, length: int) -> set[str]:
    """Give the key that one more execution of a batch would have, from the key of any of them; none for others."""
    batch_key, separator, _ = key.partition(_SEPARATOR)
    return {key_in_batch(batch_key, length)} if separator else set()


def shown_key(key: str) -> str:
    """Give a key as it was sent."""
    return key.partition(_SEPARATOR)[0]
