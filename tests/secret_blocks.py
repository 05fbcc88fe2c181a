"""Blocks that give their credentials away, in every way that a block has."""

from __future__ import annotations

import base64
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal
from urllib.parse import quote

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockContext, BlockSchema
from autogpt_server.model.credentials import CredentialsField, CredentialsMetaInput

#: Ways to give a secret away.
WAYS = (
    "yield", "base64", "quoted", "key", "pin", "raise", "block_error", "exit", "log", "logging", "own_logger", "print",
    "pieces", "thread", "file", "stored",
)  # fmt: skip


class _Input(BlockSchema):
    credentials: CredentialsMetaInput = CredentialsField("Given away.")
    way: str = "yield"


class _Output(BlockSchema):
    value: Any


def _tell(  # noqa: C901 - one line for each way
    way: str, context: BlockContext, credentials: CredentialsMetaInput
) -> Iterator[tuple[str, Any]]:
    given = context.get_credentials(credentials)
    secret = given.held.secrets()[0]
    header = next(iter(given.headers("http://host.test/").values()))
    match way:
        case "yield":
            yield "value", {"a": [f"<{secret}>", header], "b": repr(given)}
        case "base64":
            yield "value", base64.b64encode(f"user:{secret}".encode()).decode()
        case "quoted":
            yield "value", [quote(secret), secret.encode().hex()]
        case "key":
            yield "value", {secret: 1}
        case "pin":
            yield secret, 1
        case "raise":
            raise RuntimeError(f"no luck with {secret}")
        case "block_error":
            raise BlockError(f"no luck with {header}")
        case "exit":
            sys.exit(secret)
        case "log":
            context.log(f"I have {secret}")
        case "logging":
            try:
                raise ValueError(secret)
            except ValueError:
                logging.getLogger("somebody.else").exception("with %s", secret)
        case "own_logger":
            logging.getLogger("autogpt_server.executor").error("with %s", secret)
        case "print":
            print(secret, header)
            print(secret, file=sys.stderr)
        case "pieces":
            for i in range(0, len(secret), 3):
                sys.stdout.write(secret[i : i + 3])
            sys.stdout.write("\n" + "x" * 7_990 + secret + "\n")
        case "thread":
            thread = threading.Thread(target=lambda: (print(secret), logging.getLogger("lib").error(secret)))
            thread.start()
            thread.join()
        case "file":
            context.write_file(f"told-{context.node_execution_id}", b"\xff" + secret.encode())
        case "stored":
            stored = context.store_file("told.txt", secret.encode())
            yield "value", stored.model_dump()
        case _:
            raise AssertionError(way)
    yield "value", way


class TellingBlock(Block):
    id = "0f0e0d0c-0000-4000-8000-000000000501"
    Input, Output = _Input, _Output

    def run(self, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield from _tell(input_data.way, context, input_data.credentials)


class AsyncTellingBlock(Block):
    id = "0f0e0d0c-0000-4000-8000-000000000502"
    Input, Output = _Input, _Output

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        for pin, value in _tell(input_data.way, context, input_data.credentials):
            yield pin, value


class HeavyTellingBlock(TellingBlock):
    id = "0f0e0d0c-0000-4000-8000-000000000503"
    heavy = True


class StreamTellingBlock(TellingBlock):
    id = "0f0e0d0c-0000-4000-8000-000000000504"
    streaming = True


class NeedyBlock(Block):
    """Takes credentials of one provider and type only, and tells which it got."""

    id = "0f0e0d0c-0000-4000-8000-000000000505"
    Output = _Output

    class Input(BlockSchema):
        credentials: CredentialsMetaInput[Literal["acme"], Literal["api_key", "oauth2"]] = CredentialsField("For Acme.")

    async def run(self, input_data: Any, context: BlockContext) -> AsyncIterator[tuple[str, Any]]:
        given = context.get_credentials(input_data.credentials)
        yield "value", {"id": given.id, "length": len(given.held.secrets()[0])}


ALL = ",".join(
    f"tests.secret_blocks:{one.__name__}"
    for one in (TellingBlock, AsyncTellingBlock, HeavyTellingBlock, StreamTellingBlock, NeedyBlock)
)
