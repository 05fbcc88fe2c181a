"""A node execution whose block runs in a task: what its owner keeps of it until it has ended."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from autogpt_server.data.node_rows import NodeRow
from autogpt_server.executor.context import NodeContext
from autogpt_server.executor.node_executor import NodeOutcome
from autogpt_server.executor.node_outputs import Stream
from autogpt_server.model.compiled import CompiledNode
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.retries import retry_delay
from autogpt_server.model.wiring import ReadyNode


@dataclass(slots=True, eq=False)
class NodeTask:
    """One node execution, over all its tries in this process."""

    node: ReadyNode
    compiled: CompiledNode
    row: NodeRow
    context: NodeContext
    #: Where its pairs go, if its block streams.
    stream: Stream | None
    #: Whether its RUNNING row is, or is about to be, stored.
    is_recorded: bool
    task: asyncio.Task[None] | None = None
    #: It failed, and its next try has not begun.
    is_backing_off: bool = False

    @property
    def is_quiet(self) -> bool:
        """Whether stopping it now loses nothing: it waits for another execution, or for its next try."""
        return self.is_backing_off or self.context.is_waiting

    def delay_of_next_try(self, outcome: NodeOutcome) -> float | None:
        """Tell after how many seconds it is run again, or None where this was its last run."""
        if outcome.status is not ExecutionStatus.FAILED or outcome.exception is None:
            return None
        return retry_delay(self.compiled.retry, self.row.tries, outcome.exception, random.random())

    def begin_next_try(self) -> None:
        """Count the next try, before anything of it happens: what is counted is not tried again after a crash."""
        self.row.tries += 1
        self.context.tries = self.row.tries
        self.row.logs = self.context.logs()
        self.is_backing_off = True


@dataclass(slots=True)
class StreamRequest:
    """A pair that a streaming block has yielded, and whoever waits until it was delivered."""

    ordinal: int
    pin: str
    value: object
    delivered: asyncio.Future[None]
