"""The Prisma client on the machine's query engine.

``connect`` gives an ordinary client of Prisma; only its way to the engine is ours.  Call it after a fork, in the
process and on the event loop that use the client.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, cast

import orjson
from prisma import (
    Prisma,
    _builder,  # pyright: ignore[reportPrivateUsage]
)
from prisma.engine import AsyncAbstractEngine, AsyncQueryEngine
from prisma.engine.utils import handle_response_errors

from autogpt_server.data.engine_connections import AnswerLost, EngineConnections, NothingSent
from autogpt_server.data.query_engine import datamodel_path, socket_path
from autogpt_server.data.urls import DatabaseUrl, parse_database_url
from autogpt_server.errors import Unavailable
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings

#: Seconds for which a request that does no harm twice is repeated; an engine is back after a third of one.
_PATIENCE = 10.0
#: Seconds between two attempts.
_RETRY_INTERVAL = 0.05
#: How every document begins that only reads.
_READ = b'{"variables": {}, "operation_name": "query"'
#: Errors of Prisma that tell of the database and not of the query.
_UNAVAILABLE = {
    "P1001": "The database cannot be reached, or its disk is full or broken.",
    "P1008": "The database has been locked for too long; nothing was written.",
    "P1017": "The database closed the connection; what was being written may or may not have been written.",
    "P2024": "All connections to the database are busy.",
}


def _keep(text: str, prefix: str) -> str:
    del prefix
    return text


# The client indents its documents line by line, and takes U+0085, U+2028 and U+2029 inside of values for ends of
# lines: spaces would be written into users' texts.  (It also makes building a large document several times slower.)
_builder.indent = _keep  # pyright: ignore[reportPrivateImportUsage]


async def connect(settings: Settings) -> Prisma:
    """Open a Prisma client; its owner calls ``await client.disconnect()``.

    Reads survive a restart of the engine.  A write that was cut off is never repeated: it raises Unavailable, which
    says that it may or may not have happened.  Prisma's own errors pass unchanged.

    Raises:
        Unavailable: No engine answers.
    """
    url = parse_database_url(settings.database_url, settings.data_dir)
    db = Prisma(use_dotenv=False, datasource={"url": url.prisma})
    # The generated client believes in SQLite, which the datamodel names.
    db._active_provider = url.provider  # pyright: ignore[reportPrivateUsage]
    db._engine = _make_engine(settings, url)  # pyright: ignore[reportPrivateUsage]
    await db.connect(timeout=timedelta(seconds=_PATIENCE))
    return db


def provider_of(db: Prisma) -> str:
    """Tell the kind of database that a client of ``connect`` uses: ``sqlite`` or ``postgresql``."""
    return db._active_provider  # pyright: ignore[reportPrivateUsage]


def _make_engine(settings: Settings, url: DatabaseUrl) -> AsyncAbstractEngine:
    if settings.prisma_query_engine_binary is None:
        return SocketEngine(socket_path(settings))
    return _NativeEngine(settings.prisma_query_engine_binary, _native_datamodel(settings, url))


class SocketEngine(AsyncAbstractEngine):
    """Prisma's view of the shared engine."""

    def __init__(self, socket: Path) -> None:
        self._connections = EngineConnections(socket)

    async def connect(self, timeout: timedelta = timedelta(seconds=_PATIENCE), datasources: object = None) -> None:
        del datasources  # the engine knows its database
        await self._send("GET", "/status", b"", is_safe=True, patience=timeout.total_seconds())

    def close(self, *, timeout: timedelta | None = None) -> None:
        del timeout
        self._connections.close()

    async def aclose(self, *, timeout: timedelta | None = None) -> None:
        self.close(timeout=timeout)

    async def query(self, content: str, *, tx_id: str | None) -> Any:
        body = content.encode()
        if tx_id is None:
            return await self._send("POST", "/", body, is_safe=body.startswith(_READ))
        return await self._send("POST", "/", body, f"X-Transaction-Id: {tx_id}\r\n", patience=0)

    async def start_transaction(self, *, content: str) -> Any:
        # A transaction whose start was lost holds the database until its timeout, so it counts as a write.
        return (await self._send("POST", "/transaction/start", content.encode()))["id"]

    async def commit_transaction(self, tx_id: str) -> None:
        await self._send("POST", f"/transaction/{tx_id}/commit", patience=0)

    async def rollback_transaction(self, tx_id: str) -> None:
        await self._send("POST", f"/transaction/{tx_id}/rollback", patience=0)

    async def metrics(self, *, format: str, global_labels: dict[str, str] | None) -> Any:
        answer = await self._request("GET", f"/metrics?format={format}", orjson.dumps(global_labels), "", True, 0)
        return orjson.loads(answer) if format == "json" else answer.decode()

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: str = "",
        *,
        is_safe: bool = False,
        patience: float = _PATIENCE,
    ) -> Any:
        answer = orjson.loads(await self._request(method, path, body, headers, is_safe, patience))
        if answer.get("errors"):
            _raise(answer["errors"])
        return answer

    async def _request(
        self, method: str, path: str, body: bytes, headers: str, is_safe: bool, patience: float
    ) -> bytes:
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while True:
            try:
                return await self._connections.request(method, path, body, headers)
            except NothingSent as error:
                cause = error
            except AnswerLost as error:
                if not is_safe:
                    raise Unavailable(
                        "The query engine ended while it wrote; the change may or may not have happened."
                    ) from error
                cause = error
            if loop.time() > end:
                raise Unavailable("The query engine does not answer.") from cause
            await asyncio.sleep(_RETRY_INTERVAL)


class _NativeEngine(AsyncQueryEngine):
    """Prisma's native engine: every client starts its own."""

    def __init__(self, binary: Path, datamodel: Path) -> None:
        super().__init__(dml_path=datamodel)
        self._binary = binary

    def _ensure_file(self) -> Path:
        return self._binary


def _native_datamodel(settings: Settings, url: DatabaseUrl) -> Path:
    # The native engine takes the provider from its datamodel, which names SQLite.
    if url.provider == "sqlite":
        return datamodel_path()
    path = open_run_folder(settings) / f"schema.{url.provider}.prisma"
    # Replaced at once: the clients of other processes read it.
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(datamodel_path().read_text().replace('provider = "sqlite"', f'provider = "{url.provider}"', 1))
    return new.replace(path)


def _raise(errors: list[dict[str, Any]]) -> NoReturn:
    code = errors[0].get("user_facing_error", {}).get("error_code")
    if code in _UNAVAILABLE:
        raise Unavailable(_UNAVAILABLE[code])
    handle_response_errors(cast(Any, None), errors)
