"""Pages of lists, and the opaque cursors that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from autogpt_server.data.connection import Row
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.jsonvalue import dumps, loads, plain

T = TypeVar("T")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


WithId = TypeVar("WithId", bound=_HasId)

#: Characters of the longest cursor that is read.
_MAX_CURSOR = 1024


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items of a list in its order; ``next_cursor`` is None on the last page."""

    items: list[T]
    next_cursor: str | None


def encode_cursor(position: Any) -> str:
    """Write a position in a list (any JSON value) as text that fits into an address."""
    return base64.urlsafe_b64encode(dumps(position).encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> Any:
    """Read the position out of a cursor.  The caller checks that it is one of its own list.

    Raises:
        InvalidError: ``encode_cursor`` did not write it.
    """
    try:
        if len(cursor) > _MAX_CURSOR:
            raise ValueError("too long")
        padded = cursor + "=" * (-len(cursor) % 4)
        return plain(loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)))
    except (ValueError, binascii.Error) as error:
        raise bad_cursor() from error


def cursor_id(cursor: str | None) -> str | None:
    """Read the cursor of a list whose position is an id; None on the first page.

    Raises:
        InvalidError: It belongs to another list.
    """
    position = None if cursor is None else decode_cursor(cursor)
    if position is not None and not isinstance(position, str):
        raise bad_cursor()
    return position


def page_by_id(rows: Sequence[Row], limit: int, make: Callable[[Row], WithId]) -> Page[WithId]:
    """Make the page of a list whose position is an id.

    Args:
        rows: Of the page, and one more where another page follows.
        limit: Items of the page.
        make: Reads an item.
    """
    items = [make(row) for row in rows[:limit]]
    return Page(items, encode_cursor(items[-1].id) if len(rows) > limit else None)


def bad_cursor() -> InvalidError:
    """Build the refusal of a cursor that does not belong to the list."""
    problem = Problem(
        "cursor", "it is not a cursor of this list", "use next_cursor of the page before, or leave it out"
    )
    return InvalidError("Bad cursor.", [problem])
