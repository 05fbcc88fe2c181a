"""What a node yields: checked, made plain and bounded pair by pair, and where its block streams, handed on at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block
from autogpt_server.model.jsonvalue import JsonValueError, dumps, plain
from autogpt_server.model.redaction import Redactor


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How much one node execution may yield."""

    pairs: int
    bytes: int


@dataclass(slots=True)
class Stream:
    """Where a streaming block's pairs go."""

    #: Returns once a pair is durable and was delivered.
    send: Callable[[str, Any], Awaitable[None]]
    #: Pairs at the beginning that were sent already, by an earlier try or attempt, and are left out.
    skip: int


class NodeOutputs:
    """What one run of a node has yielded so far.

    Args:
        block: That runs.
        limits: Of what it may yield.
        redactor: Strikes out what it must not give out.
    """

    def __init__(self, block: Block, limits: OutputLimits, redactor: Redactor | None = None) -> None:
        self.pairs: list[tuple[str, Any]] = []
        self._block, self._limits = block, limits
        self._redactor = redactor
        self._bytes = 0
        self._closed = False

    def add(self, pin: Any, value: Any) -> Any:
        """Take one pair, and return its value as it is stored.

        Raises:
            BlockError: It is unknown, unfit, unstorable or too much; or the node has ended.
        """
        if self._closed:
            raise BlockError(f"{self._block.name} yielded after it was stopped")
        if len(self.pairs) >= self._limits.pairs:
            raise BlockError(
                f"{self._block.name} yielded more than {self._limits.pairs:,} values, the limit of one run"
            )
        try:
            stored = plain(self._block.check_output(pin, value))
        except JsonValueError as error:
            raise BlockError(f"{self._block.name} yielded on pin {pin!r} what cannot be stored: {error}") from None
        if self._redactor:
            stored = self._redactor.value(stored)
        self._bytes += _size(stored)
        if self._bytes > self._limits.bytes:
            raise BlockError(f"{self._block.name} yielded more than {self._limits.bytes:,} bytes, the limit of one run")
        self.pairs.append((pin, stored))
        return stored

    def close(self) -> None:
        """Take no more: the node ends now, whatever its thread still does."""
        self._closed = True
        self.pairs = list(self.pairs)


def _size(value: Any) -> int:
    """Bytes of a stored value, roughly; exact only where it matters."""
    match value:
        case dict() | list():
            return len(dumps(value))
        case str():
            return len(value)
        case _:
            return 8
