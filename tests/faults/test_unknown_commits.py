"""Commits that are stored while their writer hears of a broken connection: what is asked again is not done twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.errors import Unavailable
from autogpt_server.model.execution import ExecutionStatus
from tests.executor.conftest import Bench
from tests.faults.checker import Checker
from tests.faults.test_odd_worlds import bench, working  # noqa: F401

#: Commits among which some lose their answer.
_BROKEN = 24


@pytest.mark.parametrize("every", [2, 3])
async def test_nothing_is_lost_or_doubled(bench: Bench, monkeypatch: pytest.MonkeyPatch, every: int) -> None:  # noqa: F811
    graph = bench.store(
        {
            "a": ("CalculatorBlock", {"operation": "Add", "a": 0, "b": 1}),
            "b": ("RecordingBlock", {}),
            "out": ("AgentOutputBlock", {"name": "count"}),
        },
        ["a.result -> b.value", "b.value -> out.value"],
    )
    write, commits = Database.write, itertools.count(1)

    @contextlib.contextmanager
    def write_and_break(self: Database, **options: Any) -> Iterator[Connection]:
        with write(self, **options) as connection:
            yield connection
        number = next(commits)
        # Not for ever: a claim might be the one whose answer is lost each time.
        if number <= _BROKEN and number % every == 0:
            raise Unavailable("the connection broke during the commit")

    async with working(bench):
        with monkeypatch.context() as patched:
            patched.setattr(Database, "write", write_and_break)
            ids: list[str] = []
            for _ in range(10):
                ids += await asyncio.gather(*(bench.submit(graph) for _ in range(10)))
            ended = [await bench.ended(id_) for id_ in ids]
    assert next(commits) > 3 * every
    assert len(set(ids)) == 100
    assert {one.status for one in ended} == {ExecutionStatus.COMPLETED}
    assert max(one.attempt for one in ended) <= 1 + _BROKEN // every
    with bench.database.read() as c:
        assert c.execute('SELECT COUNT(*) FROM "AgentGraphExecution"').scalar_one() == 100
        assert Checker(c).problems(ids) == []
