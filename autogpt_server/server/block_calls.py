"""Executes a single block for a request, in a process of its own: whatever it does, the server goes on answering."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import ValidationError

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.executor.context import ExecutionScope, NodeContext, parse_networks
from autogpt_server.executor.node_executor import NodeExecutor, NodeOutcome
from autogpt_server.executor.node_outputs import OutputLimits
from autogpt_server.executor.running_nodes import RunningNodes
from autogpt_server.executor.sub_graphs import SubGraphs
from autogpt_server.executor.submit import Submitter
from autogpt_server.executor.user_files import UserFiles
from autogpt_server.model.block import ERROR_PIN, Block
from autogpt_server.model.execution import Outputs
from autogpt_server.model.ids import new_id, node_execution_id
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.misfits import invalid_input
from autogpt_server.service.child import ProcessEnded, describe_exit
from autogpt_server.service.process import AppProcess
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings

#: Seconds that a block gets; whoever needs more puts it into a graph.
TIMEOUT_SECONDS = 60.0
#: Seconds beyond that for its process to start and to tell the outcome.
_PROCESS_SECONDS = 15.0
#: Seconds for the process to end once it has told.
_STOP_SECONDS = 1.0
#: Calls at the same time; further ones wait.
_CALLS = 4


class BlockCalls:
    """Executes blocks one by one, each apart from everything else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(_CALLS, thread_name_prefix="block-call")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(self, user_id: str, block: Block, inputs: dict[str, Any]) -> Outputs:
        """Execute a block and return what it yielded; a failure comes last, on its pin ``error``.

        Raises:
            InvalidError: The inputs do not fit; names every pin.
            Unavailable: No process can be started now.
        """
        try:
            block.Input.model_validate(inputs)
        except ValidationError as error:
            raise invalid_input(f"The inputs do not fit {block.name}.", error, block.Input) from None
        call = BlockCall(self._settings, user_id, block.name, inputs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, _run_apart, call)


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
            return await nodes.run(registry.get(self._block_name), self._inputs, context)
        finally:
            await sub_graphs.close()
            await submitter.close()
            database.close()


def _run_apart(call: BlockCall) -> Outputs:
    call.start(background=True)
    try:
        told = call.wait_ready(TIMEOUT_SECONDS + _PROCESS_SECONDS)
        call.child.wait_gone(_STOP_SECONDS)
    except ProcessEnded as error:
        return ((ERROR_PIN, f"the block ended its process ({describe_exit(error.exit_code)})"),)
    except TimeoutError:
        return ((ERROR_PIN, f"the block did not end within {TIMEOUT_SECONDS:g} s and was killed"),)
    finally:
        call.child.kill()
    outputs = tuple((pin, value) for pin, value in loads(told["outputs"]))
    return outputs if told["error"] is None else (*outputs, (ERROR_PIN, told["error"]))
