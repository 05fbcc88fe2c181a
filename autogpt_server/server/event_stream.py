"""Server-sent events: what follows an execution over HTTP.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html; what is sent is JSON, which has
no line breaks of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from autogpt_server.server.events import EventStreams
from autogpt_server.server.feed import Entry
from autogpt_server.server.presence import wait_for_disconnect

log = logging.getLogger(__name__)

#: A proxy must neither keep events nor hold them back.
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
#: Seconds between two signs of life of a stream on which nothing happens.
_PING_SECONDS = 15
_PING = b": ping\n\n"
#: Seconds that a client may take to accept what is sent at once, and the characters of that, one event at least.
_SEND_SECONDS, _SEND_CHARACTERS = 30, 65_536


async def follow(events: EventStreams, user_id: str, execution_id: str, seen: int) -> Response:
    """Answer with the events of an execution after a revision; with 204 where that was its end.

    Raises:
        ExecutionNotFound: Unknown, or another user's.
        Unavailable: The database is away.
    """
    news = events.follow(user_id, execution_id, seen)
    try:
        first = await anext(news)
    except StopAsyncIteration:
        return Response(status_code=204)
    return EventStream(first, news)


class EventStream(Response):
    """Sends events until there are no more, the client has gone, or is too slow.

    Of its own, because somebody waits for the event that an execution has ended: a general response for such streams
    spends several times as long on the four tasks that it runs for each.
    """

    def __init__(self, first: Sequence[Entry], news: AsyncGenerator[Sequence[Entry]]) -> None:
        self._first, self._news = first, news
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send_all(send))
        listening = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
            sending.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._news):
            try:
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                for text in _texts(self._first):
                    await _send(send, text)
                while (entries := await self._next(send)) is not None:
                    for text in _texts(entries):
                        await _send(send, text)
                await _send(send, b"", more=False)
            except TimeoutError:
                # Its connection ends without an end of the answer, so it knows that there is more.
                log.warning("a client was cut off: it did not accept events within %s s", _SEND_SECONDS)

    async def _next(self, send: Send) -> Sequence[Entry] | None:
        """Wait for further events, with signs of life meanwhile; None when there are no more."""
        coming = asyncio.ensure_future(anext(self._news, None))
        try:
            while not (await asyncio.wait((coming,), timeout=_PING_SECONDS))[0]:
                await _send(send, _PING)
        except BaseException:
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming
            raise
        return coming.result()


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(_SEND_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": more})


def _texts(entries: Sequence[Entry]) -> Iterator[bytes]:
    """Put events together: sending one by one costs more than all else about them."""
    parts: list[str] = []
    size = 0
    for entry in entries:
        # Only the last event of a revision has an id: who was cut off comes back with a revision that it has whole.
        parts.append(f"id: {entry.revision}\ndata: {entry.data}\n\n" if entry.is_last else f"data: {entry.data}\n\n")
        size += len(entry.data)
        if size >= _SEND_CHARACTERS:
            yield "".join(parts).encode()
            parts.clear()
            size = 0
    if parts:
        yield "".join(parts).encode()
