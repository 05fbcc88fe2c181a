"""Files, with many stored: sending, fetching, listing and cleaning them up, beside plain files that are synced."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from autogpt_server.data.files import FileRows
from autogpt_server.files.cleanup import SteadyClock, clean_up
from autogpt_server.files.files import Files
from autogpt_server.model import clock
from autogpt_server.model.file import File
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.settings import Settings
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target, median_and_late, timed

_SMALL, _LARGE = 1024, 10 * 1024 * 1024


def measure(bench: Bench) -> Iterator[Figure]:
    stored, expired = bench.amount(100_000, 200), bench.amount(10_000, 20)
    _add_rows(bench, stored)
    plain, _ = median_and_late(list(_plain_writes(bench.folder / "plain", bench.amount(200, 3))))
    with httpx.Client(base_url=bench.server.address, timeout=60) as http:
        ids: list[str] = []

        def send() -> None:
            ids.append(http.post("/api/files?name=a.bin", content=b"x" * _SMALL).json()["id"])

        def fetch() -> None:
            assert len(http.get(f"/api/files/{ids[-1]}/content").content) == _SMALL

        median, late = median_and_late(timed(send, bench.amount(300, 3)))
        ratio = f"{median / plain:.2g} x a plain synced file ({plain:.3g} ms)"
        yield Figure("sending 1 KiB, p50 / p95", (median, late), "ms", notes=(ratio,))
        yield Figure("fetching 1 KiB, p50 / p95", median_and_late(timed(fetch, bench.amount(300, 3))), "ms")
        listing = timed(lambda: http.get("/api/files?limit=100"), bench.amount(100, 3))
        yield Figure(f"list of 100 of {stored:,}, p95", (median_and_late(listing)[1],), "ms", Target((20,), (5,)))
        data = os.urandom(_LARGE)
        began = time.perf_counter()
        large = [http.post("/api/files?name=b.bin", content=data).json()["id"] for _ in range(bench.amount(10, 1))]
        sent = time.perf_counter()
        for id_ in large:
            http.get(f"/api/files/{id_}/content")
        fetched = time.perf_counter()
    megabytes = len(large) * _LARGE / 1e6
    yield Figure("sending files of 10 MiB", (megabytes / (sent - began),), "MB/s", more_is_better=True)
    yield Figure("fetching files of 10 MiB", (megabytes / (fetched - sent),), "MB/s", more_is_better=True)
    yield _clean_up(bench, expired)


def _clean_up(bench: Bench, number: int) -> Figure:
    files = Files(Settings(data_dir=bench.folder), bench.database)
    past = clock.now() - timedelta(hours=3)
    for _ in range(number):
        _store(files, past)
    files.rows.mark_expired(clock.now())
    with bench.database.write() as c:
        c.execute(
            bench.database.sql('UPDATE "FileDefinition" SET "expiredSeenAt" = ? WHERE "expiredSeenAt" IS NOT NULL'),
            (bench.database.to_column(past),),
        )
    began = time.perf_counter()
    done = clean_up(files, SteadyClock())
    seconds = time.perf_counter() - began
    assert done.deleted == number, str(done)
    return Figure(f"cleaning up {number:,} expired files", (seconds,), "s", notes=(f"{number / seconds:,.0f} files/s",))


def _store(files: Files, expires_at: datetime) -> None:
    file = files.add(DEFAULT_USER_ID, "old.bin", b"x")
    files.rows.edit(file, file.name, expires_at)


def _add_rows(bench: Bench, number: int) -> None:
    """Let many files be known; their bytes do not matter to what is measured."""
    now = clock.now()
    FileRows(bench.database).add(*(_file(now) for _ in range(number)))
    if bench.database.provider == "postgresql":
        # As autovacuum does within a minute; nobody stores so many at once.
        with bench.database.write() as c:
            c.execute('ANALYZE "FileDefinition"')


def _file(now: datetime) -> File:
    id_ = new_id()
    return File(
        id=id_,
        user_id=DEFAULT_USER_ID,
        name="some.bin",
        mime_type="application/octet-stream",
        size=1,
        hash="0" * 64,
        encoding=None,
        metadata={},
        storage_key=f"{DEFAULT_USER_ID}/{id_}",
        node_execution_id=None,
        expires_at=None,
        created_at=now,
    )


def _plain_writes(folder: Path, number: int) -> Iterator[float]:
    folder.mkdir(parents=True, exist_ok=True)

    def write(n: int) -> None:
        with (folder / f"{n}.part").open("wb") as file:
            file.write(b"x" * _SMALL)
            file.flush()
            os.fsync(file.fileno())
        os.replace(folder / f"{n}.part", folder / str(n))

    for n in range(number):
        began = time.perf_counter()
        write(n)
        yield (time.perf_counter() - began) * 1000
