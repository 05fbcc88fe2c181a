"""A process beside an executor that runs blocks declared ``heavy``, one at a time."""

from __future__ import annotations

import os
import shutil
import socket
from typing import Any, BinaryIO, cast

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.errors import BlockError
from autogpt_server.executor.block_logs import kept_block_output, route_output_to
from autogpt_server.executor.child_count import TooManyChildren
from autogpt_server.executor.confinement import confine, end_if_forked, executor_folder
from autogpt_server.executor.context import ExecutionScope, NodeContext, parse_networks
from autogpt_server.executor.memory import MemoryWatch
from autogpt_server.executor.node_outputs import NodeOutputs, OutputLimits
from autogpt_server.executor.side_messages import LENGTH, packed, told_error, unpacked
from autogpt_server.executor.user_files import UserFiles
from autogpt_server.files.files import Files, UserStorage
from autogpt_server.model.block import BlockOutput, BlockRegistry
from autogpt_server.model.credentials import from_secret_value
from autogpt_server.service.process import AppProcess
from autogpt_server.settings import Settings

#: Characters of an error's words.
_MAX_ERROR = 10_000


class SideProcess(AppProcess):
    """Connects to its executor, and does what it is told until that hangs up.

    Args:
        settings: Of the server.
        address: Socket on which the executor waits for it.
    """

    ready_when_running = False
    stop_seconds = 1.0

    def __init__(self, settings: Settings, address: str) -> None:
        super().__init__(settings)
        self._address = address

    def run(self) -> None:
        registry = load_registry(self.settings.blocks)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._address)

            def let_go() -> None:
                self.let_go()
                connection.close()

            confine(self.settings, on_fork=let_go)
            self.ready()
            # Connects when a block asks for a file.
            files = Files(self.settings, Database.from_settings(self.settings))
            stream = cast(BinaryIO, connection.makefile("rwb"))
            with kept_block_output():
                while (order := _read(stream)) is not None:
                    answer = _Run(self.settings, files, registry, stream, order).execute()
                    end_if_forked()
                    if self.stopping.is_set():
                        # What ended the block was meant for this process.
                        return
                    _write(stream, answer)

    def cleanup(self) -> None:
        """Remove its folder; where it is killed, whoever killed it does."""
        shutil.rmtree(executor_folder(self.settings, os.getpid()), ignore_errors=True)


class _Run:
    """One run of a block."""

    def __init__(
        self, settings: Settings, files: Files, registry: BlockRegistry, stream: BinaryIO, order: dict[str, Any]
    ) -> None:
        self._stream, self._order = stream, order
        self._memory = MemoryWatch(settings.executor_memory_mb, runs_alone=True)
        self._block = registry.get(order["block"])
        scope = ExecutionScope(
            user_id=order["user_id"],
            execution_id=order["execution_id"],
            depth=order["depth"],
            files=UserFiles(settings.files_dir / order["user_id"], settings.max_file_bytes),
            # Heavy blocks are sync, and only async ones can wait for an execution.
            sub_graphs=None,
            max_log_bytes=settings.max_node_log_bytes,
            allowed_networks=parse_networks(settings.allowed_networks),
            storage=UserStorage(files, order["user_id"], settings.max_file_bytes),
        )
        self._context = NodeContext(scope, order["node_execution_id"], order["node_id"], tries=order["tries"])
        self._context.go_on_after(order["tries"], order["logs"])
        self._context.take_credentials(map(from_secret_value, order["credentials"]))
        limits = OutputLimits(settings.max_node_outputs, settings.max_node_output_bytes)
        self._outputs = NodeOutputs(self._block, limits, self._context.redactor)

    def execute(self) -> dict[str, Any]:
        """Run to the end, whatever it is, and tell it."""
        route_output_to(self._context)
        error = None
        try:
            self._consume()
        except BaseException as raised:
            error = self._own(raised)
        skip: int | None = self._order["skip"]
        return {
            "end": {
                "pairs": self._outputs.pairs if skip is None else [],
                "error": None if error is None else told_error(error, self._words(error)),
                "logs": self._context.logs(),
            }
        }

    def _consume(self) -> None:
        skip: int | None = self._order["skip"]
        parsed = self._block.check_input(self._order["inputs"])
        for pin, value in cast(BlockOutput, self._block.run(parsed, self._context)):
            stored = self._outputs.add(pin, value)
            if skip is not None and len(self._outputs.pairs) > skip:
                _write(self._stream, {"pair": [pin, stored]})
                if _read(self._stream) is None:
                    raise BlockError("the executor has gone")

    def _own(self, error: BaseException) -> BaseException:
        if isinstance(error, MemoryError):
            return self._memory.refused()
        if isinstance(error, SystemExit):
            return BlockError(f"the block called sys.exit({error.code!r})")
        return BlockError(str(error)) if isinstance(error, TooManyChildren) else error

    def _words(self, error: BaseException) -> str:
        try:
            return self._context.redactor.text(str(error))[:_MAX_ERROR]
        except Exception:
            # An exception of a block may be as broken as the block.
            return "(its message cannot be read)"


def _read(stream: BinaryIO) -> dict[str, Any] | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return unpacked(stream.read(LENGTH.unpack(head)[0]))


def _write(stream: BinaryIO, message: dict[str, Any]) -> None:
    stream.write(packed(message))
    stream.flush()
