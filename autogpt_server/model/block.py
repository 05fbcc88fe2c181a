"""Blocks: what a node runs.  A block declares its pins as two pydantic schemas and yields (pin, value) pairs.

The built-in blocks live in ``autogpt_server/blocks``; this module knows none of them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Protocol, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from autogpt_server.errors import BlockError, BlockInputError, BlockNotFound
from autogpt_server.model.credentials import (
    CredentialsMetaInput,
    CredentialsPin,
    UsableCredentials,
    credentials_pins,
)
from autogpt_server.model.file import FileValue
from autogpt_server.model.ids import canonical_id
from autogpt_server.model.policy import RetryPolicy

#: The pin that every block has besides its own: the message of a failed execution.
ERROR_PIN = "error"
#: Class names of the blocks that graphs are entered and left by, and of the one that executes another graph.
INPUT_BLOCK, OUTPUT_BLOCK, EXECUTOR_BLOCK = "AgentInputBlock", "AgentOutputBlock", "AgentExecutorBlock"


class BlockSchema(BaseModel):
    """Base of a block's ``Input`` and ``Output``.  Fields are pins; a field with a default need not be given."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class BlockCategory(StrEnum):
    BASIC = "BASIC"
    TEXT = "TEXT"
    LOGIC = "LOGIC"
    DATA = "DATA"
    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    FILES = "FILES"
    NETWORK = "NETWORK"
    AGENT = "AGENT"


class BlockContext(Protocol):
    """All that a block may reach for.  Nothing else: a block runs in a test without a database."""

    @property
    def user_id(self) -> str: ...
    @property
    def execution_id(self) -> str: ...
    @property
    def node_execution_id(self) -> str:
        """Stable over all attempts: the key under which an outside effect is done at most once."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the execution is being stopped; a long-running block looks now and then and returns."""
        ...

    def get_credentials(self, value: CredentialsMetaInput[Any, Any]) -> UsableCredentials:
        """Give the credentials that a pin of this node has received.  Raises BlockError when none has."""
        ...

    def is_retried(self, error: BaseException) -> bool:
        """Tell whether this node is run again if its block raises this error now."""
        ...

    def log(self, message: str) -> None:
        """Write a line to the node execution's log and the server's, with the ids of this execution."""
        ...

    def read_file(self, path: str) -> bytes:
        """Read a file of the user's folder.  Raises BlockError when it is outside, missing or too large."""
        ...

    def write_file(self, path: str, data: bytes, *, append: bool = False) -> int:
        """Write a file in the user's folder and return its size in bytes.  Raises BlockError when it may not."""
        ...

    def read_stored(self, file: FileValue) -> bytes:
        """Read a stored file that a pin received.  Raises BlockError when it is gone, too large or not the user's."""
        ...

    def store_file(self, name: str, data: bytes, mime_type: str | None = None) -> FileValue:
        """Store a file of the user, and return it as a value for a pin.  Raises BlockError when that may not be."""
        ...

    def is_address_allowed(self, address: str) -> bool:
        """Tell whether outgoing requests may reach this IP address."""
        ...

    async def execute_graph(self, graph_id: str, version: int | None, inputs: dict[str, Any]) -> dict[str, list[Any]]:
        """Execute another graph of the same user and return its outputs.  Raises BlockError when it fails."""
        ...


BlockOutput = Iterator[tuple[str, Any]]
AsyncBlockOutput = AsyncIterator[tuple[str, Any]]


class Block:
    """Base class.  Subclasses set the class attributes, nest ``Input`` and ``Output``, and define ``run``.

    ``run(input_data, context)`` is a generator, sync or async, that yields ``(pin, value)``.  One instance
    serves all executions of a process, so it keeps no state.  The values it is given are shared with other nodes:
    it never changes them in place.
    """

    #: Stable UUID; exported graphs refer to it.
    id: ClassVar[str]
    #: Other ids and names under which exports know this block.
    aliases: ClassVar[tuple[str, ...]] = ()
    description: ClassVar[str] = ""
    categories: ClassVar[frozenset[BlockCategory]] = frozenset()

    #: The input pins; subclasses nest a class of this name.
    Input: ClassVar[type[BlockSchema]] = BlockSchema
    #: The output pins; subclasses nest a class of this name.
    Output: ClassVar[type[BlockSchema]] = BlockSchema

    #: Links that leave this block are static: their sink keeps the last value.
    static_output: ClassVar[bool] = False
    #: No effect outside and no dependence on it beyond its input: may run again, and ahead of the commit.
    pure: ClassVar[bool] = False
    #: A sync ``run`` that may wait or compute for long, and so runs in a thread.  Async ones never block.
    blocking: ClassVar[bool] = True
    #: Each pair is recorded, and goes downstream, as it is yielded instead of at the end.  Never pure.  Where a node
    #: runs again its first pairs, as many as are recorded, are left out: it yields them in the same order.
    streaming: ClassVar[bool] = False
    #: A sync ``run`` that keeps a processor busy, and so runs in a process beside the executor's.
    heavy: ClassVar[bool] = False
    #: Longest time that one run may take; None takes the setting.  A node's own policy goes before it.
    timeout: ClassVar[timedelta | None] = None
    #: When a failed run is tried again; None for never.  A node's own policy goes before it.
    retry: ClassVar[RetryPolicy | None] = None

    test_input: ClassVar[dict[str, Any] | list[dict[str, Any]]] = {}
    #: Expected pairs in order; a type as value means any instance of it.
    test_output: ClassVar[list[tuple[str, Any]]] = []

    def run(self, input_data: Any, context: BlockContext) -> BlockOutput | AsyncBlockOutput:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return type(self).__name__

    @cached_property
    def is_async(self) -> bool:
        return inspect.isasyncgenfunction(self.run)

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the input; its properties are the input pins."""
        return self.Input.model_json_schema()

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the output; its properties are the output pins, without ``error``."""
        return self.Output.model_json_schema()

    @cached_property
    def required_pins(self) -> frozenset[str]:
        return frozenset(name for name, field in self.Input.model_fields.items() if field.is_required())

    @cached_property
    def credentials_pins(self) -> dict[str, CredentialsPin]:
        """The input pins that take credentials."""
        return credentials_pins(self.Input.model_fields)

    # The validators themselves, bound once: what pydantic wraps around them costs more than most blocks.
    @cached_property
    def _parse_input(self) -> Callable[[Any], BlockSchema]:
        return self.Input.__pydantic_validator__.validate_python

    @cached_property
    def _parse_output(self) -> dict[str, Callable[[Any], Any]]:
        fields = self.Output.model_fields
        return {
            name: TypeAdapter(cast(type[Any], field.rebuild_annotation())).validator.validate_python
            for name, field in fields.items()
        }

    def check_input(self, data: dict[str, Any]) -> BlockSchema:
        """Parse the resolved input, converting what fits.

        Raises:
            BlockInputError: A value is missing, unknown or of the wrong type; names every such pin.
        """
        try:
            return self._parse_input(data)
        except ValidationError as error:
            raise BlockInputError(f"input of {self.name}: {_describe(error)}") from None

    def check_output(self, pin: str, value: Any) -> Any:
        """Return one yielded value, converted to the pin's declared type.

        Raises:
            BlockError: The pin is unknown or the value does not fit it.
        """
        parse = self._parse_output.get(pin)
        if parse is None:
            if pin == ERROR_PIN:
                return str(value)
            known = ", ".join(sorted(self._parse_output)) or "none"
            raise BlockError(f"{self.name} yielded the unknown pin {pin!r}; its output pins are: {known}")
        try:
            parsed = parse(value)
            # Between nodes only JSON travels.
            return parsed.model_dump(mode="json", by_alias=True) if isinstance(parsed, BaseModel) else parsed
        except ValidationError as error:
            raise BlockError(f"{self.name} yielded a wrong value on pin {pin!r}: {_describe(error)}") from None

    async def execute(self, data: dict[str, Any], context: BlockContext) -> list[tuple[str, Any]]:
        """Check the input, run, and return every pair; for tests and one-off calls.  A sync run goes to a thread."""
        pairs = self.run(self.check_input(data), context)
        if isinstance(pairs, AsyncIterator):
            return [(pin, self.check_output(pin, value)) async for pin, value in pairs]
        return [(pin, self.check_output(pin, value)) for pin, value in await asyncio.to_thread(list, pairs)]


def _describe(error: ValidationError) -> str:
    parts: list[str] = []
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(str(step) for step in item["loc"])
        parts.append(f"{place}: {item['msg']}" if place else item["msg"])
    return "; ".join(parts)


class BlockRegistry:
    """The blocks that a process knows, found by name, id or alias."""

    def __init__(self, blocks: Iterable[type[Block]]) -> None:
        self._by_name: dict[str, Block] = {}
        self._by_key: dict[str, Block] = {}
        for cls in blocks:
            block = cls()
            for key in (block.name, block.id, *block.aliases):
                other = self._by_key.setdefault(canonical_id(key), block)
                if other is not block:
                    raise ValueError(f"two blocks answer to {key!r}: {other.name} and {block.name}")
            if block.pure and block.credentials_pins:
                raise ValueError(f"{block.name} takes credentials, so what it does depends on more: it is not pure")
            self._by_name[block.name] = block

    def __iter__(self) -> Iterator[Block]:
        return iter(self._by_name.values())

    def find(self, key: str) -> Block | None:
        """Return the block of this name, id or alias, or None."""
        return self._by_key.get(key) or self._by_key.get(canonical_id(key))

    def get(self, key: str) -> Block:
        """Return the block of this name, id or alias.

        Raises:
            BlockNotFound: There is none.
        """
        block = self.find(key)
        if block is None:
            raise BlockNotFound(key)
        return block
