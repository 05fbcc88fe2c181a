"""Measures the server and what it is compared with, and prints one table.

./scripts/bench [WORKS] [--database sqlite|postgresql|both] [--rows N] [--quick] [--save FILE]
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import databases, table
from benchmarks.baselines import bare_rows, peer
from benchmarks.bench import Bench
from benchmarks.databases import open_database
from benchmarks.figures import Figure
from benchmarks.server import running_server
from benchmarks.works import (
    batch,
    endpoints,
    files,
    idle,
    large,
    monitoring,
    notifications,
    posts,
    schedules,
    single,
    waits,
)

#: In the order in which they run; each gets a server of its own.
WORKS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "single": single.measure_chains,
    "fan": single.measure_fan,
    "post": posts.measure,
    "batch": batch.measure,
    "waits": waits.measure,
    "large": large.measure,
    "endpoints": endpoints.measure,
    "schedules": schedules.measure,
    "monitoring": monitoring.measure,
    "files": files.measure,
    "notifications": notifications.measure,
    "idle": idle.measure,
}
#: Nothing about the database makes a difference to the others.
_ON_POSTGRESQL = ("single", "post", "batch", "endpoints", "schedules", "monitoring", "files", "notifications")


def main() -> None:
    options = _options()
    # As an exception it also removes the copies and ends the servers.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    works = options.works or list(WORKS)
    results: table.Results = {}
    if options.database != "postgresql":
        with databases.sqlite_copy(options.rows) as (url, folder):
            results["SQLite"] = list(_measure(works, url, folder, options))
    if options.database != "sqlite":
        works = options.works or _ON_POSTGRESQL
        with databases.postgresql(options.rows) as (url, folder):
            results["PostgreSQL"] = list(_measure(works, url, folder, options))
    title = f"{options.rows:,} node executions stored before"
    table.show(results, title)
    if options.save:
        table.save(results, title, options.save)


def _measure(works: Sequence[str], url: str, folder: Path, options: argparse.Namespace) -> Iterator[Figure]:
    for name in works:
        sys.stderr.write(f"{name} ...\n")
        database = open_database(url, folder)
        try:
            with running_server(folder, url) as server:
                bench = Bench(server, folder, url, database, options.rows, options.quick)
                if name == "batch":
                    bench.baselines = _baselines(folder, bench)
                yield from WORKS[name](bench)
        finally:
            database.close()


def _baselines(folder: Path, bench: Bench) -> dict[str, float]:
    """Node executions a second of others, on the same disk and in the same minutes."""
    return {
        "LangGraph + SqliteSaver": peer.rate(folder, bench.amount(300, 3)),
        "bare rows in SQLite": bare_rows.rate(folder, bench.amount(200_000, 1_000)),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the server.")
    parser.add_argument(
        "works", nargs="*", choices=[*WORKS, []], metavar="WORK", help=f"of {', '.join(WORKS)}; all by default"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="node executions stored before; 1,000,000 by default"
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--quick", action="store_true", help="do as little as shows that everything works")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="write the result as JSON, or as Markdown to a .md file"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
