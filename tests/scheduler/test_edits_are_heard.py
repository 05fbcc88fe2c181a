"""Whoever fires schedules hears of every edit at once, also of one that another process has made: by ``NOTIFY`` on
PostgreSQL, by a nudge on SQLite.  The table is not read for it."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prisma_fixtures import engine_settings  # noqa: F401

from autogpt_server.data.announcements import Announcements
from autogpt_server.data.database import Database
from autogpt_server.events.nudge import Nudger, NudgeReceiver, Topic
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.timers import Timers
from autogpt_server.server.agent_server import AgentServer
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings
from tests.data.schedule_rows import stored_graph
from tests.scheduler.scheduler_process import Service, until

#: Seconds within which an edit is known, on a machine that does much else.  Unheard, it would take up to a minute.
LIMIT = 2.0
Effect = Callable[[str], bool]


@dataclass
class World:
    """Processes in which schedules are edited, and timers here that are to hear of it."""

    timers: Timers
    rest: httpx.Client
    rpc: httpx.Client
    graph_id: str
    #: Milliseconds from a request to its effect.
    taken: list[float] = field(default_factory=list)

    def known(self, schedule_id: str) -> Schedule | None:
        found = self.timers._known.get(schedule_id)
        return None if found is None else found.schedule

    def is_known(self, schedule_id: str) -> bool:
        return self.known(schedule_id) is not None

    def is_unknown(self, schedule_id: str) -> bool:
        return self.known(schedule_id) is None

    def comes_every(self, seconds: int) -> Effect:
        return lambda id_: (found := self.known(id_)) is not None and found.interval_seconds == seconds

    def edit(
        self, client: httpx.Client, method: str, path: str, body: Any, effect: Effect, id_: str | None = None
    ) -> str:
        """Send a request, and wait until the timers know what it changed; returns the schedule's id."""
        next_read, began = self.timers._next_read, time.monotonic()
        answer = client.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        id_ = id_ or answer.json()["id"]
        while not effect(id_):
            assert time.monotonic() < began + LIMIT, f"{method} {path} was not heard"
            time.sleep(0.0005)
        self.taken.append((time.monotonic() - began) * 1000)
        # Nobody looked through the table to find out.
        assert self.timers._next_read == next_read
        return id_


@pytest.fixture(scope="module")
def world(engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # noqa: F811
    settings = engine_settings.model_copy(update={"execution_scheduler_port": 0})
    database = Database.from_settings(settings)
    with ExitStack() as stack:
        stack.callback(database.close)
        graph_id = stored_graph(database)
        server = stack.enter_context(AgentServer(settings))
        rpc = stack.enter_context(Service(settings, register_system_tasks=False)).http
        rest = httpx.Client(base_url=f"http://127.0.0.1:{server.wait_ready()['port']}/api", timeout=30)
        stack.enter_context(rest)
        nudger = Nudger(tmp_path_factory.mktemp("elsewhere"))
        stack.callback(nudger.close)
        timers = Timers(database, nudger, timedelta(seconds=10))
        listen = nudged if database.provider == "sqlite" else announced
        stack.enter_context(listen(timers, settings, database))
        timers.start()
        stack.callback(timers.stop)
        until(lambda: timers._next_read > 0)
        world = World(timers, rest, rpc, graph_id)
        yield world
        print(f"\n{database.provider}: {statistics.median(world.taken):.1f} ms from the request to its effect", end=" ")
        print(f"(median; at most {max(world.taken):.1f} ms)")


@contextmanager
def announced(timers: Timers, settings: Settings, database: Database) -> Iterator[None]:
    """Let timers hear what is announced in the database, as on another machine, which no nudge reaches."""
    del settings
    is_heard = threading.Event()

    def hear(ids: Iterable[str]) -> None:
        timers.hear(ids)
        is_heard.set()

    announcements = Announcements(database.url, hear)
    announcements.start()
    assert is_heard.wait(20)
    yield
    announcements.stop()


@contextmanager
def nudged(timers: Timers, settings: Settings, database: Database) -> Iterator[None]:
    """Let timers hear the nudges of other processes of this machine."""
    del database
    receiver = NudgeReceiver(open_run_folder(settings), Topic.SCHEDULES, "another-scheduler")
    is_open, is_over = threading.Event(), threading.Event()

    async def receive() -> None:
        await receiver.open(timers.hear)
        is_open.set()
        await asyncio.to_thread(is_over.wait)
        receiver.close()

    thread = threading.Thread(target=lambda: asyncio.run(receive()))
    thread.start()
    assert is_open.wait(20)
    yield
    is_over.set()
    thread.join(20)


def test_edits_by_rest_take_effect_at_once(world: World) -> None:
    for _ in range(5):
        # Due soon enough to be kept in memory, and not while this runs.
        path, body = f"/graphs/{world.graph_id}/schedules", {"interval_seconds": 200}
        id_ = world.edit(world.rest, "POST", path, body, world.is_known)
        one = f"/schedules/{id_}"
        world.edit(world.rest, "PATCH", one, {"interval_seconds": 150}, world.comes_every(150))
        world.edit(world.rest, "POST", f"{one}/pause", {}, world.is_unknown)
        world.edit(world.rest, "POST", f"{one}/resume", None, world.comes_every(150))
        # What is due in an hour is not kept in memory.
        world.edit(world.rest, "PATCH", one, {"interval_seconds": 3600}, world.is_unknown)
        world.edit(world.rest, "PATCH", one, {"interval_seconds": 100}, world.comes_every(100))
        world.edit(world.rest, "DELETE", one, None, world.is_unknown, id_)


def test_edits_by_rpc_take_effect_at_once(world: World) -> None:
    for _ in range(5):
        at = clock.now() + timedelta(seconds=200)
        wanted = {"user_id": DEFAULT_USER_ID, "graph_id": world.graph_id, "graph_version": 1, "cron": None,
                  "input_data": {}, "run_at": at.isoformat()}  # fmt: skip
        id_ = world.edit(world.rpc, "POST", "/add_graph_execution_schedule", wanted, world.is_known)
        gone = {"schedule_id": id_, "user_id": DEFAULT_USER_ID}
        world.edit(world.rpc, "POST", "/delete_graph_execution_schedule", gone, world.is_unknown)
