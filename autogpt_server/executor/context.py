"""What a running block may reach for: its user's files, other graphs, the log, and whether it should stop."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.errors import BlockError, ServerError
from autogpt_server.executor.block_logs import BlockLog
from autogpt_server.executor.live_secrets import LIVE
from autogpt_server.executor.sub_graphs import SubGraphs
from autogpt_server.executor.user_files import UserFiles
from autogpt_server.files.files import UserStorage
from autogpt_server.model.block import Block
from autogpt_server.model.credentials import CredentialsMetaInput, UsableCredentials, as_secret_value
from autogpt_server.model.file import FileValue
from autogpt_server.model.ids import canonical_id
from autogpt_server.model.policy import RetryPolicy
from autogpt_server.model.redaction import NOTHING_SECRET, Redactor
from autogpt_server.model.retries import retry_delay

log = logging.getLogger("autogpt_server.blocks")

#: Two threads of a block may be the first to print at the same moment.
_making_log = threading.Lock()

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Characters of one log line of a block.
_MAX_LINE = 2_000


@dataclass(frozen=True, slots=True)
class ExecutionScope:
    """What all nodes of one graph execution share."""

    user_id: str
    execution_id: str
    depth: int
    files: UserFiles
    #: None where nothing can be executed from.
    sub_graphs: SubGraphs | None
    max_log_bytes: int
    allowed_networks: tuple[_Network, ...]
    #: None where blocks have no storage.
    storage: UserStorage | None = None
    #: None where blocks get no credentials.
    credentials: CredentialStore | None = None


class NodeContext:
    """The BlockContext of one node execution."""

    #: Strikes the secrets of its credentials out of what the block gives out.
    redactor = NOTHING_SECRET
    #: What the node's pins that take credentials have received, by id.  Most nodes have none, and make nothing for it.
    _credentials: Mapping[str, UsableCredentials] = MappingProxyType({})

    def __init__(
        self,
        scope: ExecutionScope,
        node_execution_id: str,
        node_id: str,
        retry: RetryPolicy | None = None,
        tries: int = 1,
    ) -> None:
        self._scope = scope
        self._node_execution_id = node_execution_id
        self.node_id = node_id
        self.retry, self.tries = retry, tries
        self._log: BlockLog | None = None
        self._cancelled = False
        self._is_over = False
        self._waits = 0

    @property
    def user_id(self) -> str:
        return self._scope.user_id

    @property
    def execution_id(self) -> str:
        return self._scope.execution_id

    @property
    def node_execution_id(self) -> str:
        return self._node_execution_id

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    @property
    def is_waiting(self) -> bool:
        """Whether the block waits for another execution."""
        return self._waits > 0

    @property
    def block_log(self) -> BlockLog:
        """What the block prints and logs; made when it first does."""
        if self._log is None:
            with _making_log:
                if self._log is None:
                    log = BlockLog(self._scope.max_log_bytes)
                    log.redactor = self.redactor
                    self._log = log
        return self._log

    def logs(self) -> str | None:
        """Return what ``block_log`` has, as JSON text, or None where nothing was printed or logged."""
        return None if self._log is None else self._log.json()

    def go_on_after(self, tries: int, logs: str | None) -> None:
        """Take over what an earlier attempt of the execution has counted and logged of this node."""
        self.tries = tries
        if logs is not None:
            self._log = BlockLog(self._scope.max_log_bytes, logs)
            self._log.redactor = self.redactor

    async def open_credentials(self, block: Block, inputs: dict[str, Any]) -> None:
        """Get the credentials that the node's inputs name, for the run that begins.

        Raises:
            BlockError: They cannot be had; names the pin.
        """
        opened: dict[str, UsableCredentials] = {}
        for name, pin in block.credentials_pins.items():
            value = inputs.get(name)
            if value is None:
                continue
            if self._scope.credentials is None:
                raise BlockError("there are no credentials here")
            try:
                one = await self._scope.credentials.open(self.user_id, value, pin)
            except BlockError as error:
                raise BlockError(f"credentials on the pin {name!r}: {error}", error.retry_after_seconds) from None
            opened[one.id] = one
        self.take_credentials(opened.values())

    def take_credentials(self, opened: Iterable[UsableCredentials]) -> None:
        """Let the block have these while it runs."""
        self._credentials = {one.id: one for one in opened}
        secrets = [secret for one in self._credentials.values() for secret in one.held.secrets()]
        LIVE.add(secrets)
        self.redactor = Redactor(secrets)
        if self._log is not None:
            self._log.redactor = self.redactor

    def as_order(self, block_name: str, inputs: dict[str, Any], skip: int | None) -> dict[str, Any]:
        """Say in plain values what another process needs to run this node.

        Args:
            block_name: Of its block.
            inputs: Of the node.
            skip: Of a streaming block: pairs at the beginning that were sent already.
        """
        return {
            "block": block_name,
            "inputs": inputs,
            "skip": skip,
            "user_id": self.user_id,
            "execution_id": self.execution_id,
            "depth": self._scope.depth,
            "node_execution_id": self.node_execution_id,
            "node_id": self.node_id,
            "tries": self.tries,
            "logs": self.logs(),
            # By a socket that nobody else can open, and into no log.
            "credentials": [as_secret_value(one) for one in self._credentials.values()],
        }

    def cancel(self, *, is_over: bool = False) -> None:
        """Tell the block to stop at its next look.

        Args:
            is_over: This node execution will not be run again, so what it started elsewhere has no purpose left.
        """
        self._cancelled = True
        self._is_over = self._is_over or is_over

    def is_retried(self, error: BaseException) -> bool:
        return retry_delay(self.retry, self.tries, error, 0) is not None

    def get_credentials(self, value: CredentialsMetaInput[Any, Any]) -> UsableCredentials:
        found = self._credentials.get(canonical_id(value.id))
        if found is None:
            raise BlockError(f"no pin of this node has received the credentials {value.id[:100]!r}")
        return found

    def log(self, message: str) -> None:
        message = self.redactor.text(message)
        self.block_log.add("info", message)
        if not self.block_log.is_full:
            log.info("%s", message[:_MAX_LINE])

    def read_file(self, path: str) -> bytes:
        return self._scope.files.read(path)

    def write_file(self, path: str, data: bytes, *, append: bool = False) -> int:
        return self._scope.files.write(self.redactor.text(path), self.redactor.data(data), append=append)

    def read_stored(self, file: FileValue) -> bytes:
        return self._storage.read(file)

    def store_file(self, name: str, data: bytes, mime_type: str | None = None) -> FileValue:
        data = self.redactor.data(data)
        return self._storage.store(self.redactor.text(name), data, mime_type, self.node_execution_id)

    @property
    def _storage(self) -> UserStorage:
        if self._scope.storage is None:
            raise BlockError("there is no storage here")
        return self._scope.storage

    def is_address_allowed(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        return any(ip in network for network in self._scope.allowed_networks)

    async def execute_graph(self, graph_id: str, version: int | None, inputs: dict[str, Any]) -> dict[str, list[Any]]:
        if self._scope.sub_graphs is None:
            raise BlockError("this block cannot execute graphs")
        self._waits += 1
        try:
            return await self._scope.sub_graphs.execute(
                user_id=self.user_id,
                graph_id=graph_id,
                version=version,
                inputs=self.redactor.value(inputs),
                parent_execution_id=self.execution_id,
                depth=self._scope.depth + 1,
                idempotency_key=self._key_of_this_try(),
                is_over=lambda: self._is_over,
            )
        except BlockError:
            raise
        except ServerError as error:
            raise BlockError(str(error)) from error
        finally:
            self._waits -= 1

    def _key_of_this_try(self) -> str:
        """Name what this try executes: a run after a crash finds it by that, a further try begins anew."""
        return self.node_execution_id if self.tries == 1 else f"{self.node_execution_id}.{self.tries}"


def parse_networks(texts: tuple[str, ...]) -> tuple[_Network, ...]:
    """Parse the setting that lists networks, as CIDR or single addresses.

    Raises:
        ValueError: One is neither; names it.
    """
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
