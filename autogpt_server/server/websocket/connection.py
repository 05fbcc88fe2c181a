"""One connection of ``WS /ws``: what it is subscribed to, and the way of all events to it."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing

from starlette.websockets import WebSocket, WebSocketDisconnect

from autogpt_server.data.graph_versions import Wanted, find_version
from autogpt_server.errors import ServerError
from autogpt_server.server.events import BEGINNING
from autogpt_server.server.services import Services
from autogpt_server.server.websocket import messages
from autogpt_server.server.websocket.graph_executions import executions_of
from autogpt_server.server.websocket.messages import BadMessage, Channel, parse_message

#: Channels of one connection.
MAX_CHANNELS = 100
#: Executions of a graph that are followed at the same time; the others' events come when some of these have ended.
_AT_ONCE = 100
#: Seconds that a client may take to accept one message.
SEND_SECONDS = 30

#: Close codes of RFC 6455, section 7.4: the server restarts; the client is asked to come again later.
_RESTARTS, _AGAIN = 1012, 1013


class _Closing(Exception):
    """The connection is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Connection:
    """Serves one client until it goes, is too slow, or the server stops.

    Nothing is kept for a client but what is being sent: whoever is slow holds up its own channels only.
    """

    def __init__(self, socket: WebSocket, services: Services, user_id: str, stopping: asyncio.Event) -> None:
        self._socket, self._services, self._user_id, self._stopping = socket, services, user_id, stopping
        self._channels: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        await self._socket.accept()
        tasks = (asyncio.create_task(self._receive()), asyncio.create_task(self._wait_for_stop()), self._broken)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        except WebSocketDisconnect:
            return
        except _Closing as closing:
            # Whoever takes nothing does not take this either; then the connection just ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEND_SECONDS):
                    await self._socket.close(closing.code, closing.reason)
        finally:
            for task in (*tasks, *self._channels.values()):
                task.cancel()
            await asyncio.gather(*tasks, *self._channels.values(), return_exceptions=True)

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()
        raise _Closing(_RESTARTS, 'the server stops; subscribe again with the last "after"')

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            text = message.get("text")
            try:
                if text is None:
                    raise BadMessage(messages.ERROR, "Send text, not bytes.")
                method, channel = parse_message(text)
                if method == messages.SUBSCRIBE:
                    await self._subscribe(channel)
                else:
                    await self._unsubscribe(channel.id)
            except BadMessage as error:
                await self._send(messages.refusal(error.method, str(error)))

    async def _subscribe(self, channel: Channel) -> None:
        """Begin to follow; what is followed already begins anew, at the position that is given now."""
        if channel.id not in self._channels and len(self._channels) >= MAX_CHANNELS:
            raise BadMessage(
                messages.SUBSCRIBE,
                f"A connection has at most {MAX_CHANNELS} subscriptions; unsubscribe or open another.",
            )
        try:
            if channel.execution_id is not None:
                await asyncio.to_thread(self._services.executions.get, self._user_id, channel.execution_id)
            else:
                wanted = Wanted(self._user_id, channel.id, None)
                await asyncio.to_thread(find_version, self._services.database, wanted)
        except ServerError as error:
            raise BadMessage(messages.SUBSCRIBE, str(error)) from None
        await self._drop(channel.id)
        await self._send(messages.answer(messages.SUBSCRIBE, channel.id))
        self._channels[channel.id] = asyncio.create_task(self._serve_channel(channel))

    async def _unsubscribe(self, channel: str) -> None:
        if not await self._drop(channel):
            raise BadMessage(messages.UNSUBSCRIBE, f"There is no subscription to {channel}, or it has ended.")
        await self._send(messages.answer(messages.UNSUBSCRIBE, channel))

    async def _drop(self, channel: str) -> bool:
        task = self._channels.pop(channel, None)
        if task is None:
            return False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return True

    async def _serve_channel(self, channel: Channel) -> None:
        try:
            if channel.execution_id is not None:
                after = BEGINNING if channel.after is None else channel.after
                await self._follow(channel.id, channel.execution_id, after)
            else:
                await self._follow_all(channel.id)
        except ServerError as error:
            await self._send(messages.refusal(messages.ERROR, str(error), channel.id))
        except (_Closing, WebSocketDisconnect) as error:
            self._break(error)
            return
        # Cancelled, it was replaced or dropped, and another task may have its place.
        self._channels.pop(channel.id, None)

    async def _follow_all(self, graph_id: str) -> None:
        free = asyncio.Semaphore(_AT_ONCE)
        services = self._services

        async def follow(execution_id: str, after: int) -> None:
            try:
                await self._follow(graph_id, execution_id, after)
            except ServerError:
                return  # it was deleted meanwhile
            except (_Closing, WebSocketDisconnect) as error:
                self._break(error)
            finally:
                free.release()

        async with asyncio.TaskGroup() as group:
            found = executions_of(services.executions, services.events, self._user_id, graph_id)
            async with aclosing(found):
                async for execution_id, after in found:
                    await free.acquire()
                    group.create_task(follow(execution_id, after))

    async def _follow(self, channel: str, execution_id: str, after: int) -> None:
        async with aclosing(self._services.events.follow(self._user_id, execution_id, after)) as news:
            async for entries in news:
                for entry in entries:
                    await self._send(messages.execution_event(channel, entry))

    async def _send(self, text: str) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._socket.send_text(text)
            except TimeoutError:
                raise _Closing(_AGAIN, 'too slow; subscribe again with the last "after"') from None
            except RuntimeError:
                # The framework's word for a connection that is being closed.
                raise WebSocketDisconnect from None

    def _break(self, error: Exception) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)
