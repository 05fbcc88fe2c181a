"""What an executor and its side processes say to each other: JSON, each message after its length."""

from __future__ import annotations

import struct
from typing import Any, cast

from autogpt_server.errors import BlockError, BlockInputError
from autogpt_server.model.jsonvalue import dumps, loads

LENGTH = struct.Struct("!I")


def packed(message: dict[str, Any]) -> bytes:
    """Give a message as it is sent."""
    body = dumps(message).encode()
    return LENGTH.pack(len(body)) + body


def unpacked(body: bytes) -> dict[str, Any]:
    """Read the part of a message that comes after its length."""
    return loads(body.decode())


def told_error(error: BaseException, text: str) -> dict[str, Any]:
    """Tell an error by all that its receiver decides by: its classes, its words, and when to try again."""
    names = [cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception) and cls is not Exception]
    return {"classes": names, "text": text, "retry_after_seconds": getattr(error, "retry_after_seconds", None)}


def heard_error(told: dict[str, Any]) -> Exception:
    """Make an error that retry policies and people take for the original.  Nothing is imported by name."""
    names: list[str] = told["classes"]
    base: type[Exception] = Exception
    for known in (BlockInputError, BlockError):
        if known.__name__ in names:
            base = known
            break
    cls: type[Exception] = base
    inherited = {one.__name__ for one in base.__mro__}
    for name in reversed(names):
        if name not in inherited:
            cls = cast(type[Exception], type(name, (cls,), {}))
    error = cls(told["text"])
    seconds = told["retry_after_seconds"]
    if isinstance(seconds, int | float):
        error.retry_after_seconds = seconds  # type: ignore[attr-defined]
    return error
