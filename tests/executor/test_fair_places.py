"""What executes for many users at once gives each its turn, however much another one has claimed before."""

from __future__ import annotations

import asyncio

import pytest

from autogpt_server.executor.fair_places import FairPlaces
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import new_id
from autogpt_server.settings import Settings
from tests.executor.conftest import Bench
from tests.make_graph import make_graph, store_graph


class Line:
    """Takes places and notes who got them, in order."""

    def __init__(self, count: int) -> None:
        self.places, self.served = FairPlaces(count), list[str]()

    def wait(self, name: str) -> asyncio.Task[None]:
        async def take() -> None:
            # The user is the first letter.
            await self.places.take(name[0])
            self.served.append(name)

        return asyncio.create_task(take())

    async def give_back(self, user_id: str) -> None:
        self.places.give_back(user_id)
        await asyncio.sleep(0)


async def test_whoever_holds_the_fewest_is_next_and_equals_take_turns() -> None:
    line = Line(2)
    tasks = [line.wait(name) for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")]
    await asyncio.sleep(0)
    assert line.served == ["a1", "a2"]
    for user_id in "aabac":
        await line.give_back(user_id)
    assert line.served == ["a1", "a2", "b1", "a3", "c1", "b2", "a4"]
    await asyncio.gather(*tasks)


async def test_a_place_is_lost_by_nobody_who_stops_waiting_for_it() -> None:
    line = Line(1)
    await line.wait("a1")
    early, late, last = line.wait("b1"), line.wait("c1"), line.wait("a2")
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.sleep(0)
    line.places.give_back("a")
    # It was given the place, and does not know it yet.
    late.cancel()
    await asyncio.wait_for(last, 5)
    assert line.served == ["a1", "a2"]
    await line.give_back("a")
    await asyncio.wait_for(line.wait("d1"), 5)


async def test_the_first_of_another_user_gets_a_place_that_is_kept(bench: Bench) -> None:
    worker = bench.worker(drain_seconds=0, executor_concurrency=32)
    task = asyncio.create_task(worker.run(lambda _: None))
    endless = {"sleep": ("SleepyBlock", {"seconds": 60})}
    crowd = bench.store(endless)
    ids = [await bench.submit(crowd) for _ in range(40)]
    await bench.until(lambda: sum(bool(bench.nodes(execution_id)) for execution_id in ids) == 30)
    others: list[str] = []
    for _ in range(2):
        graph = make_graph(bench.registry, endless, None)
        store_graph(bench.database, bench.registry, graph, user := new_id())
        # The second one of a user has to wait for a place like everybody else.
        others += [(await bench.submitter.submit(user, graph.id, {}))[0] for _ in range(2)]
    await bench.until(lambda: bench.nodes(others[0]) and bench.nodes(others[2]))
    with bench.database.read() as c:
        running = 'SELECT COUNT(*) FROM "AgentGraphExecution" WHERE "status" = \'RUNNING\''
        assert c.execute(running).scalar() == 32
    assert not (bench.nodes(others[1]) or bench.nodes(others[3]))
    worker.stop()
    await asyncio.wait_for(task, 20)


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """What happens within an executor does not depend on the database."""
    return sqlite_settings


async def test_the_first_of_another_user_gets_the_next_thread(running: Bench) -> None:
    # Three rounds in the threads of one process, all of them claimed.
    crowd = running.store({"sleep": ("SleepyThreadBlock", {"seconds": 0.7})})
    ids = [await running.submit(crowd) for _ in range(192)]
    await running.until(lambda: all(running.nodes(execution_id) for execution_id in ids))
    other = make_graph(running.registry, {"sleep": ("SleepyThreadBlock", {"seconds": 0})}, None)
    store_graph(running.database, running.registry, other, user := new_id())
    execution_id, _ = await running.submitter.submit(user, other.id, {})
    await running.until(lambda: running.executions.get(user, execution_id).status is ExecutionStatus.COMPLETED)
    (its,) = running.nodes(execution_id)
    await running.until(lambda: all(running.nodes(one)[0].status.is_final for one in ids))
    # By what is recorded, however slow whoever looks is: at most the round that ran then ended before it did.
    ends = [running.nodes(one)[0].ended_at for one in ids]
    assert sum(its.queued_at < end < its.ended_at for end in ends) < 128
    assert max(ends) > its.ended_at
