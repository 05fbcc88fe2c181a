"""Finds the executions of a graph: those that are under way, and each that is accepted from then on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import ParamSpec, TypeVar

from autogpt_server.data.executions import Executions
from autogpt_server.errors import Unavailable
from autogpt_server.model.ids import id_ms, least_id
from autogpt_server.server.events import BEGINNING, EventStreams

log = logging.getLogger(__name__)

#: Seconds between two looks when executions change, and when none is heard of.
_NUDGED_SECONDS, _LOOK_SECONDS = 0.05, 1.0
#: An id is made before its row is committed: rows may appear that are this many milliseconds older than the newest.
_LATE_MS = 10_000
#: Executions looked at in the beginning, and ids read at once from then on.
_RECENT, _PAGE = 1000, 500

P = ParamSpec("P")
T = TypeVar("T")


async def executions_of(
    executions: Executions, events: EventStreams, user_id: str, graph_id: str
) -> AsyncGenerator[tuple[str, int]]:
    """Yield the id of each execution to follow, and the revision after which to; goes on for ever."""
    recent = await _patiently(executions.recent, user_id, graph_id, _RECENT)
    newest = recent[0].id if recent else ""
    # Of those before the subscription only what is under way is followed; late rows come after the oldest one seen.
    start = recent[-1].id if len(recent) == _RECENT else ""
    seen: set[str] = {one.id for one in recent}
    for one in reversed(recent):
        if not one.status.is_final:
            yield one.id, one.revision
    changed = asyncio.Event()
    with events.hearing(lambda _: changed.set()):
        while True:
            changed.clear()
            floor = after = _floor(newest, start)
            while page := await _patiently(executions.ids_after, user_id, graph_id, after, _PAGE):
                after = page[-1]
                for id_ in page:
                    if id_ not in seen:
                        seen.add(id_)
                        newest = max(newest, id_)
                        yield id_, BEGINNING
                if len(page) < _PAGE:
                    break
            seen = {id_ for id_ in seen if id_ > floor}
            await _wait(changed)


def _floor(newest: str, start: str) -> str:
    """Look only from here on: what is older can no longer appear."""
    return max(start, least_id(id_ms(newest) - _LATE_MS)) if newest else start


async def _wait(changed: asyncio.Event) -> None:
    began = time.monotonic()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_SECONDS):
            await changed.wait()
    # Changes come by the thousand; one look finds all of them.
    await asyncio.sleep(max(0.0, _NUDGED_SECONDS - (time.monotonic() - began)))


async def _patiently(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    while True:
        try:
            return await asyncio.to_thread(call, *args, **kwargs)
        except Unavailable as error:
            log.warning("cannot look for executions, trying again: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)
