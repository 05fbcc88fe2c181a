"""Single creates and reads per second through Prisma on SQLite, one after the other.

Ours is the client on the shared engine's unix socket; the baseline is the unmodified client on the same engine over
TCP.  Both write with synchronous=FULL to the same disk, in alternating rounds.

    python benchmarks/prisma_engine.py [--rounds 5] [--queries 500]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from prisma import Prisma, _builder

from autogpt_server.data import prisma_client
from autogpt_server.data.migrations import migrate
from autogpt_server.data.query_engine import EngineProcess, node_path
from autogpt_server.model.ids import new_id
from autogpt_server.settings import Settings

LAUNCHER = Path(__file__).parent.parent / "engine" / "query-engine"


async def main(rounds: int, queries: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours_settings = make_settings(Path(folder) / "ours")
        baseline_settings = make_settings(Path(folder) / "baseline")
        engine = EngineProcess(ours_settings)
        engine.start()
        ours = await prisma_client.connect(ours_settings)
        baseline = await connect_unmodified(baseline_settings)
        try:
            figures = await measure(ours, baseline, rounds, queries)
        finally:
            await ours.disconnect()
            await baseline.disconnect()
            engine.stop()
    print(f"{'queries per second':<22}{'unmodified':>12}{'ours':>12}{'ratio':>8}")
    for name, (before, after) in figures.items():
        print(f"{name:<22}{before:>12,.0f}{after:>12,.0f}{after / before:>8.1f}")


def make_settings(folder: Path) -> Settings:
    settings = Settings(data_dir=folder, database_url="file:database.db", _env_file=None)  # type: ignore[call-arg]
    migrate(settings)
    return settings


async def connect_unmodified(settings: Settings) -> Prisma:
    os.environ["PRISMA_QUERY_ENGINE_BINARY"] = str(LAUNCHER)
    os.environ["AUTOGPT_NODE"] = str(node_path())
    client = Prisma(use_dotenv=False, datasource={"url": f"file:{settings.data_dir}/database.db"})
    await client.connect()
    return client


async def measure(ours: Prisma, baseline: Prisma, rounds: int, queries: int) -> dict[str, tuple[float, float]]:
    operations: dict[str, Callable[[Prisma], Awaitable[object]]] = {
        "create": lambda db: db.user.create(data={"id": (name := new_id()), "email": name}),
        "find_unique": lambda db: db.user.find_unique(where={"id": "nobody"}),
    }
    results: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in operations}
    # The one module whose functions our client replaces: not exported, because nobody else should.
    builder: Any = _builder
    our_indent = builder.indent
    for _ in range(rounds):
        for name, operation in operations.items():
            builder.indent = textwrap.indent
            results[name][0].append(await per_second(operation, baseline, queries))
            builder.indent = our_indent
            results[name][1].append(await per_second(operation, ours, queries))
    return {name: (statistics.median(a), statistics.median(b)) for name, (a, b) in results.items()}


async def per_second(operation: Callable[[Prisma], Awaitable[object]], db: Prisma, queries: int) -> float:
    started_at = time.perf_counter()
    for _ in range(queries):
        await operation(db)
    return queries / (time.perf_counter() - started_at)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=500)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.rounds, arguments.queries))
