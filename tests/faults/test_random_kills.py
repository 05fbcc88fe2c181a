"""Whatever is killed, and whenever: what was accepted ends once, with a whole history."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from running_server import Server, environment, running_server

from autogpt_server.data.database import Database
from autogpt_server.data.urls import parse_database_url

#: Seconds of killing, and seconds between two kills.
KILLING, PAUSE = 6.0, 0.3
#: Executions in one request.
BATCH = 50


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield "file:database.db"
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield url


def counting_graph() -> dict[str, Any]:
    """Five nodes in a row, the second and the fourth with an effect outside."""
    ids = [f"d1000000-0000-4000-8000-{i:012d}" for i in range(5)]
    blocks = ["CalculatorBlock", "RecordingBlock", "CalculatorBlock", "RecordingBlock", "CalculatorBlock"]
    pins = {"CalculatorBlock": ("a", "result"), "RecordingBlock": ("value", "value")}
    nodes = [
        {"id": i, "block_name": block, "input_default": {"operation": "Add", "b": 1} if block == blocks[0] else {}}
        for i, block in zip(ids, blocks, strict=True)
    ]
    nodes[0]["input_default"] = {"operation": "Add", "a": 0, "b": 1}
    links = [
        {
            "source_id": ids[i],
            "source_name": pins[blocks[i]][1],
            "sink_id": ids[i + 1],
            "sink_name": pins[blocks[i + 1]][0],
        }
        for i in range(4)
    ]
    return {"name": "count", "nodes": nodes, "links": links}


def submit_and_kill(server: Server, graph_id: str, chance: random.Random) -> tuple[list[str], list[str]]:
    """Submit batches while killing processes of the server at random; returns what was accepted and what was killed."""
    accepted: list[str] = []
    killed: list[str] = []
    supervisor = psutil.Process(server.process.pid)
    end = time.monotonic() + KILLING
    with httpx.Client(base_url=server.url, timeout=10) as client:
        while time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                answer = client.post(f"/api/graphs/{graph_id}/execute/batch", json={"inputs": [{}] * BATCH})
                if answer.status_code == 202:
                    accepted += answer.json()["ids"]
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                victim = chance.choice(supervisor.children(recursive=True))
                killed.append(victim.name())
                victim.kill()
            time.sleep(PAUSE)
    return accepted, killed


def wait_for_all(database: Database, seconds: float) -> dict[str, int]:
    """Wait until every execution has ended; returns how many ended how."""
    end = time.monotonic() + seconds
    while True:
        with database.read() as c:
            rows = c.exec_driver_sql('SELECT "status", COUNT(*) FROM "AgentGraphExecution" GROUP BY 1').all()
        counts = {row[0]: row[1] for row in rows}
        if set(counts) <= {"COMPLETED", "FAILED", "TERMINATED"} or time.monotonic() > end:
            return counts
        time.sleep(0.1)


@pytest.mark.timeout(120)
def test_random_kills_lose_nothing_and_double_nothing(url: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    env = environment(
        tmp_path,
        url,
        AUTOGPT_EXECUTOR_LEASE_SECONDS="2",
        AUTOGPT_BLOCKS="tests.odd_blocks:RecordingBlock",
        # Chance may kill an executor during the same execution again and again.
        AUTOGPT_MAX_DEATHS="1000",
    )
    with running_server(env) as server:
        graph_id = server.store(counting_graph())["id"]
        accepted, killed = submit_and_kill(server, graph_id, random.Random(seed))
        with contextlib.closing(Database(parse_database_url(url, tmp_path))) as database, database.read() as c:
            counts = wait_for_all(database, 60)
            known = set(c.exec_driver_sql('SELECT "id" FROM "AgentGraphExecution"').scalars())
            torn = c.exec_driver_sql(
                'SELECT "agentGraphExecutionId" FROM "AgentNodeExecution" GROUP BY 1 HAVING COUNT(*) <> 5 '
                'OR COUNT(DISTINCT "sequence") <> 5 OR MIN("sequence") <> 1 OR MAX("sequence") <> 5 '
                "OR SUM(CASE WHEN \"status\" = 'COMPLETED' THEN 0 ELSE 1 END) > 0"
            ).all()
        processes = psutil.Process(server.process.pid).children(recursive=True)

    assert len(killed) >= 5, killed
    assert accepted
    assert set(accepted) <= known
    assert set(counts) == {"COMPLETED"}, counts
    assert torn == []
    gone, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
