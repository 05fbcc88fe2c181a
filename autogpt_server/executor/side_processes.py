"""The side processes of one executor: started when they are needed, killed with what must stop, ended when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from typing import Any

from autogpt_server.errors import BlockError, Unavailable
from autogpt_server.executor.context import NodeContext
from autogpt_server.executor.exit_reasons import exit_reason
from autogpt_server.executor.fair_places import FairPlaces
from autogpt_server.executor.leftovers import clear_away
from autogpt_server.executor.node_outputs import NodeOutputs, Stream
from autogpt_server.executor.side_messages import LENGTH, heard_error, packed, unpacked
from autogpt_server.executor.side_process import SideProcess
from autogpt_server.model.block import Block
from autogpt_server.service.child import ProcessEnded
from autogpt_server.settings import Settings

log = logging.getLogger(__name__)

#: Seconds for a process to start and to connect, and seconds until one that does nothing is ended.
_START_SECONDS, _IDLE_SECONDS = 30.0, 60.0


class SideProcesses:
    """Runs heavy blocks, so many at the same time as there may be processes; users that wait take turns.

    Args:
        settings: How many; and all that blocks need.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places = FairPlaces(settings.side_processes)
        self._idle: list[_Side] = []
        self._all: set[_Side] = set()

    async def run(
        self,
        block: Block,
        inputs: dict[str, Any],
        context: NodeContext,
        outputs: NodeOutputs,
        stream: Stream | None,
        started: asyncio.Event,
    ) -> BaseException | None:
        """Run a block in a process of its own, and return what it raised.  Cancelled, it kills the process.

        Args:
            block: What to run.
            inputs: Of the node.
            context: Of the node; its log takes what the block printed.
            outputs: Takes what it yields.
            stream: Where its pairs go one by one, if it streams.
            started: Set once there is a process for it.
        """
        async with self._places.place(context.user_id):
            try:
                side = self._idle.pop() if self._idle else await self._start()
            except (Unavailable, TimeoutError, OSError) as error:
                return BlockError(f"no process can be started for {block.name} now: {error}")
            finally:
                started.set()
            is_whole = False
            try:
                order = context.as_order(block.name, inputs, None if stream is None else stream.skip)
                error = await side.execute(order, context, outputs, stream)
                is_whole = True
                return error
            except BlockError as error:
                return error
            except (asyncio.IncompleteReadError, ConnectionError):
                side.end()
                code = await asyncio.to_thread(side.process.child.wait_gone, 5)
                return BlockError(
                    f"{block.name}'s process died: {exit_reason(code or 0, self._settings.executor_memory_mb)}"
                )
            finally:
                if is_whole:
                    self._keep(side)
                else:
                    self._discard(side)

    async def close(self) -> None:
        """End all; what runs in them ends with them."""
        sides = list(self._all)
        for side in sides:
            self._discard(side)
        for side in sides:
            await asyncio.to_thread(side.process.child.wait_gone, 5)

    async def _start(self) -> _Side:
        address = self._settings.run_dir / f"side-{os.getpid()}-{uuid.uuid4().hex[:8]}.sock"
        connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        connected = asyncio.get_running_loop().create_future()

        def on_connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not connected.done():
                connected.set_result((reader, writer))

        process = SideProcess(self._settings, str(address))
        server = await asyncio.start_unix_server(on_connected, path=address)
        try:
            os.chmod(address, 0o600)
            await asyncio.to_thread(process.start, background=True)
            await asyncio.to_thread(process.wait_ready, _START_SECONDS)
            reader, writer = await asyncio.wait_for(connected, _START_SECONDS)
        except BaseException as error:
            if process.is_started:
                process.child.send_signal(9)
            if isinstance(error, ProcessEnded):
                raise Unavailable(str(error)) from error
            raise
        finally:
            server.close()
            address.unlink(missing_ok=True)
        side = _Side(process, reader, writer)
        self._all.add(side)
        return side

    def _keep(self, side: _Side) -> None:
        self._idle.append(side)
        asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._end_idle, side, side.runs)

    def _end_idle(self, side: _Side, runs: int) -> None:
        if side in self._idle and side.runs == runs:
            self._idle.remove(side)
            self._discard(side)

    def _discard(self, side: _Side) -> None:
        self._all.discard(side)
        with contextlib.suppress(ValueError):
            self._idle.remove(side)
        side.end()
        settings, pid = self._settings, side.process.child.pid
        # It looks through all processes, and there is nobody to tell.
        asyncio.get_running_loop().run_in_executor(None, clear_away, settings, pid)


class _Side:
    """One process, and the connection to it."""

    def __init__(self, process: SideProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process, self._reader, self._writer = process, reader, writer
        self.runs = 0

    async def execute(
        self, order: dict[str, Any], context: NodeContext, outputs: NodeOutputs, stream: Stream | None
    ) -> BaseException | None:
        """Have it run a block.

        Raises:
            IncompleteReadError: It died.
        """
        self.runs += 1
        await self._send(order)
        while "pair" in (message := await self._receive()):
            pin, value = message["pair"]
            if stream is not None:
                # As the block's process has checked it: what is counted here was counted there.
                await stream.send(pin, outputs.add(pin, value))
            await self._send({})
        end = message["end"]
        for pin, value in end["pairs"]:
            outputs.add(pin, value)
        context.go_on_after(context.tries, end["logs"])
        return None if end["error"] is None else heard_error(end["error"])

    def end(self) -> None:
        """Kill it."""
        self._writer.close()
        self.process.child.send_signal(9)

    async def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(packed(message))
        await self._writer.drain()

    async def _receive(self) -> dict[str, Any]:
        (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        return unpacked(await self._reader.readexactly(length))
