"""Executes a single block for a request, in a process of its own: whatever it does, the server goes on answering."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from multiprocess import connection
from pydantic import ValidationError

from autogpt_server.blocks.registry import load_registry
from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.errors import Unavailable
from autogpt_server.executor.block_logs import kept_block_output
from autogpt_server.executor.context import ExecutionScope, NodeContext, parse_networks
from autogpt_server.executor.leftovers import kill_tree
from autogpt_server.executor.node_executor import NodeExecutor, NodeOutcome
from autogpt_server.executor.node_outputs import OutputLimits
from autogpt_server.executor.running_nodes import RunningNodes
from autogpt_server.executor.sub_graphs import SubGraphs
from autogpt_server.executor.submit import Submitter
from autogpt_server.executor.user_files import UserFiles
from autogpt_server.files.files import Files, UserStorage
from autogpt_server.model.block import ERROR_PIN, Block
from autogpt_server.model.execution import Outputs
from autogpt_server.model.ids import new_id, node_execution_id
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.misfits import invalid_input
from autogpt_server.service.child import Child, ProcessEnded, describe_exit, wait_any_child
from autogpt_server.service.process import AppProcess
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings

#: Seconds that a block gets; whoever needs more puts it into a graph.
TIMEOUT_SECONDS = 60.0
#: Seconds beyond that for its process to start and to tell the outcome.
_PROCESS_SECONDS = 15.0
#: Seconds for the process to end once it has told.
_STOP_SECONDS = 1.0
#: Calls at the same time, and seconds that a further one waits for one of them to end.
CALLS, WAIT_SECONDS = 4, 2.0


class BlockCalls:
    """Executes blocks one by one, each apart from everything else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix="block-call")
        self._places = asyncio.Semaphore(CALLS)
        #: One for every call that runs; closing it says that nobody wants its outcome any more.
        self._wanted: set[socket.socket] = set()

    async def close(self) -> None:
        """End all calls, and wait until their processes are gone."""
        for wanted in self._wanted:
            wanted.close()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def call(self, user_id: str, block: Block, inputs: dict[str, Any]) -> Outputs:
        """Execute a block and return what it yielded; a failure comes last, on its pin ``error``.

        Cancelled, it kills the block.

        Raises:
            InvalidError: The inputs do not fit; names every pin.
            Unavailable: No process can be started now, or as many as may be are busy.
        """
        try:
            block.Input.model_validate(inputs)
        except ValidationError as error:
            raise invalid_input(f"The inputs do not fit {block.name}.", error, block.Input) from None
        await self._take_place()
        return await self._run(BlockCall(self._settings, user_id, block.name, inputs))

    async def _take_place(self) -> None:
        """Wait for those that came before; not for long, as one that hangs keeps its place for a minute."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable(
                f"{CALLS} single blocks are being executed already; ask again in a moment, or put it into a graph"
            ) from None

    async def _run(self, call: BlockCall) -> Outputs:
        # Closing the one end wakes the thread that waits at the other.
        wanted, listener = socket.socketpair()
        self._wanted.add(wanted)
        try:
            running = self._threads.submit(_run_apart, call, listener)
        except BaseException:
            self._give_back(wanted, listener)
            raise
        loop = asyncio.get_running_loop()
        # Only when its process has gone, not already when nobody waits for it any more.
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._give_back, wanted, listener))
        try:
            return await asyncio.shield(asyncio.wrap_future(running))
        except asyncio.CancelledError:
            wanted.close()
            raise

    def _give_back(self, wanted: socket.socket, listener: socket.socket) -> None:
        self._wanted.discard(wanted)
        wanted.close()
        listener.close()
        self._places.release()


class BlockCall(AppProcess):
    """The process of one call.  It is ready when the block has ended, and tells the outcome."""

    ready_when_running = False
    stop_seconds = _STOP_SECONDS

    def __init__(self, settings: Settings, user_id: str, block_name: str, inputs: dict[str, Any]) -> None:
        super().__init__(settings)
        self._user_id, self._block_name, self._inputs = user_id, block_name, inputs

    @property
    def name(self) -> str:
        return f"call of {self._block_name}"

    def run(self) -> None:
        outcome = asyncio.run(self._execute())
        self.ready(outputs=dumps(outcome.outputs), error=outcome.error)

    async def _execute(self) -> NodeOutcome:
        settings = self.settings
        registry, database = load_registry(settings.blocks), Database.from_settings(settings)
        submitter = Submitter(settings, database)
        sub_graphs = SubGraphs(submitter, Executions(database), settings.max_depth, open_run_folder(settings))
        credentials = CredentialStore(settings, database)
        execution_id = new_id()
        marks = settings.run_dir / f"call-{execution_id}.running"
        scope = ExecutionScope(
            user_id=self._user_id,
            execution_id=execution_id,
            depth=0,
            files=UserFiles(settings.files_dir / self._user_id, settings.max_file_bytes),
            sub_graphs=sub_graphs,
            max_log_bytes=settings.max_node_log_bytes,
            allowed_networks=parse_networks(settings.allowed_networks),
            storage=UserStorage(Files(settings, database), self._user_id, settings.max_file_bytes),
            credentials=credentials,
        )
        nodes = NodeExecutor(
            1,
            RunningNodes(marks),
            OutputLimits(settings.max_node_outputs, settings.max_node_output_bytes),
            min(TIMEOUT_SECONDS, settings.node_timeout_seconds),
        )
        # Nobody looks for suspects here: the death of this process names the block.
        marks.unlink()
        try:
            context = NodeContext(scope, node_execution_id(execution_id, 0), execution_id)
            # What it prints goes to the server's log, without its secrets.
            with kept_block_output():
                return await nodes.run(registry.get(self._block_name), self._inputs, context)
        finally:
            await credentials.close()
            await sub_graphs.close()
            await submitter.close()
            database.close()


def _run_apart(call: BlockCall, wanted: socket.socket) -> Outputs:
    call.start(background=True)
    try:
        _wait_as_long_as_wanted(call.child, wanted)
        told = call.wait_ready(0)
        call.child.wait_gone(_STOP_SECONDS)
    except ProcessEnded as error:
        return ((ERROR_PIN, f"the block ended its process ({describe_exit(error.exit_code)})"),)
    except TimeoutError:
        return ((ERROR_PIN, f"the block did not end within {TIMEOUT_SECONDS:g} s and was killed"),)
    finally:
        if call.child.is_alive:
            # It first, then it is awaited: what its block started would outlive it.
            kill_tree(call.child.pid)
        call.child.kill()
    outputs = tuple((pin, value) for pin, value in loads(told["outputs"]))
    return outputs if told["error"] is None else (*outputs, (ERROR_PIN, told["error"]))


def _wait_as_long_as_wanted(child: Child, wanted: socket.socket) -> None:
    """Wait until a call has told its outcome or has died, its time is over, or nobody wants it any more."""
    end = time.monotonic() + TIMEOUT_SECONDS + _PROCESS_SECONDS
    child.refresh()
    while child.is_alive and not child.is_ready:
        remaining = end - time.monotonic()
        if remaining <= 0 or connection.wait([wanted], 0):
            return
        wait_any_child([child], remaining, wanted)
