"""A borrowed connection: statements go to the driver as they are, and rows come back as the driver made them.

SQLAlchemy keeps the pools.  Its own way of executing a statement costs several times as much as the statement, where
that finds a row by its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Row = tuple[Any, ...]


class Result:
    """What a statement gave: its rows, all of them, and how many it changed."""

    __slots__ = ("_cursor", "_rows")

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        # Read at once: an unfinished statement keeps SQLite from shortening its WAL.
        self._rows: list[Row] = [] if cursor.description is None else cursor.fetchall()

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""
        return self._cursor.rowcount

    @property
    def columns(self) -> list[str]:
        """Names of the columns; empty for a statement that gives no rows."""
        return [column[0] for column in self._cursor.description or ()]

    def all(self) -> list[Row]:
        return self._rows

    def first(self) -> Row | None:
        return self._rows[0] if self._rows else None

    def one(self) -> Row:
        """Give the only row.

        Raises:
            ValueError: There is none, or more than one.
        """
        (row,) = self._rows
        return row

    def scalar(self) -> Any:
        """Give the first column of the first row; None without rows."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """Give the first column of the only row.

        Raises:
            ValueError: There is none, or more than one.
        """
        return self.one()[0]

    def scalars(self) -> list[Any]:
        """Give the first column of every row."""
        return [row[0] for row in self._rows]


class Connection:
    """Lent by ``Database`` for one ``with`` block."""

    __slots__ = ("driver_connection",)

    def __init__(self, driver_connection: Any) -> None:
        self.driver_connection = driver_connection

    def execute(self, text: str, values: Sequence[Any] = ()) -> Result:
        """Execute one statement with its values; or, given a list of rows, once for each of them."""
        cursor = self.driver_connection.cursor()
        if isinstance(values, list):
            cursor.executemany(text, values)
        else:
            cursor.execute(text, values)
        return Result(cursor)
