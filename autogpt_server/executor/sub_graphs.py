"""Graphs executed by a node of another graph: submits them and waits for their ends.

One look covers everything that this process waits for, so a thousand waiting nodes cost one query.  A nudge says when
to look; without one, it looks by itself now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from autogpt_server.data.executions import Executions
from autogpt_server.errors import BlockError, Unavailable
from autogpt_server.events.nudge import NudgeReceiver, Topic
from autogpt_server.executor.submit import Submitter
from autogpt_server.model.execution import ExecutionStatus, GraphExecution

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two tries while the database is away.
_RETRY_SECONDS = 0.5
#: Seconds between two looks at the executions that are waited for, where no nudge tells that one has changed.
_POLL_SECONDS = 0.5


class SubGraphs:
    """Starts executions on behalf of nodes, and waits for them.

    Args:
        submitter: Accepts them.
        executions: Where they are read.
        max_depth: How deep executions may be nested.
        run_dir: Where nudges come in while something is waited for.
    """

    def __init__(self, submitter: Submitter, executions: Executions, max_depth: int, run_dir: Path) -> None:
        self._submitter, self._executions, self._max_depth = submitter, executions, max_depth
        self._nudges = NudgeReceiver(run_dir, Topic.CHANGES, f"parts-{os.getpid()}")
        self._news = asyncio.Event()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._parents: Counter[str] = Counter()
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def waiting_executions(self) -> int:
        """Executions that wait for another one.  They must not keep it from being claimed."""
        return len(self._parents)

    async def execute(
        self,
        *,
        user_id: str,
        graph_id: str,
        version: int | None,
        inputs: dict[str, Any],
        parent_execution_id: str,
        depth: int,
        idempotency_key: str,
        is_over: Callable[[], bool],
    ) -> dict[str, list[Any]]:
        """Execute a graph and return its outputs.  A database that is away is waited for.

        When this is cancelled and ``is_over`` says so, the execution is stopped; otherwise it goes on, and the next
        call with its key finds it.

        Raises:
            BlockError: It ended otherwise than COMPLETED, or executions are nested too deeply.
            ServerError: It was not accepted.
        """
        if depth > self._max_depth:
            raise BlockError(
                f"executions are nested deeper than {self._max_depth} levels; does the graph execute itself?"
            )
        submission = asyncio.ensure_future(
            _patiently(
                lambda: self._submitter.submit(
                    user_id,
                    graph_id,
                    inputs,
                    version=version,
                    idempotency_key=idempotency_key,
                    parent_execution_id=parent_execution_id,
                    depth=depth,
                )
            )
        )
        self._parents[parent_execution_id] += 1
        try:
            # Shielded: once begun, it may be accepted, and then somebody must know its id.
            execution_id, _ = await asyncio.shield(submission)
            ended = await self._wait(user_id, execution_id)
        except asyncio.CancelledError:
            if is_over():
                self._stop_soon(user_id, submission)
            raise
        finally:
            self._parents[parent_execution_id] -= 1
            if not self._parents[parent_execution_id]:
                del self._parents[parent_execution_id]
        if ended.status is not ExecutionStatus.COMPLETED:
            raise BlockError(
                f"execution {ended.id} of graph {graph_id} ended {ended.status}: {ended.error or 'no reason given'}"
            )
        return ended.outputs

    async def close(self) -> None:
        """Stop waiting; whoever waits is cancelled by its own executor."""
        await asyncio.gather(*self._stopping, return_exceptions=True)
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    def _stop_soon(self, user_id: str, submission: asyncio.Future[tuple[str, ExecutionStatus]]) -> None:
        async def stop() -> None:
            execution_id, _ = await submission
            await self._submitter.stop(user_id, execution_id)

        task = asyncio.create_task(stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _wait(self, user_id: str, execution_id: str) -> GraphExecution:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(execution_id, []).append(future)
        # It may have ended before anybody listened.
        self._news.set()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._look_while_waiting())
        try:
            await future
        finally:
            self._forget(execution_id, future)
        return await _patiently(lambda: asyncio.to_thread(self._executions.get, user_id, execution_id))

    def _forget(self, execution_id: str, future: asyncio.Future[None]) -> None:
        futures = self._waiting.get(execution_id, [])
        if future in futures:
            futures.remove(future)
        if not futures:
            self._waiting.pop(execution_id, None)

    async def _look_while_waiting(self) -> None:
        await self._nudges.open(self._hear)
        try:
            await self._look()
        finally:
            self._nudges.close()

    def _hear(self, execution_ids: list[str]) -> None:
        if not self._waiting.keys().isdisjoint(execution_ids):
            self._news.set()

    async def _look(self) -> None:
        while self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._news.wait()
            # Before the look: what changes during it leads to another.
            self._news.clear()
            try:
                statuses = await asyncio.to_thread(self._executions.statuses, list(self._waiting))
            except Exception as error:
                # Whoever waits would wait for ever if this ended.
                log.warning("cannot look at sub-graph executions, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for execution_id, status in statuses.items():
                if status.is_final:
                    for future in self._waiting.pop(execution_id, []):
                        if not future.done():
                            future.set_result(None)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except Unavailable as error:
            log.warning("the database is away, trying again: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
