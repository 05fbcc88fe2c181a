"""Single submits over many connections, from a process of their own."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.baselines import bare_http
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.graphs import chain
from benchmarks.load_client import Load, run_load
from benchmarks.waiting import wait_until_idle

_CONNECTIONS = 16


def measure(bench: Bench) -> Iterator[Figure]:
    seconds = 0.3 if bench.quick else 5.0
    with bare_http.running() as address:
        bare = run_load(address, "/", _CONNECTIONS, seconds)
    path = f"/api/graphs/{bench.server.store(chain(1))}/execute"
    run_load(bench.server.address, path, _CONNECTIONS, seconds / 10)
    load = run_load(bench.server.address, path, _CONNECTIONS, seconds)
    wait_until_idle(bench.database)
    yield Figure(
        f"single POST of an execution, {_CONNECTIONS} connections",
        (load.rate,),
        "requests/s",
        Target((1_500,), (4_000,)),
        more_is_better=True,
        notes=_notes(load, bare),
    )


def _notes(load: Load, bare: Load) -> tuple[str, ...]:
    return (
        f"p95 {load.late_ms:.3g} ms",
        f"client {load.cpu_share:.0%} of a core",
        f"{load.rate / bare.rate:.3g} x bare uvicorn ({bare.rate:,.0f}/s)",
    )
