"""Databases with many executions stored, made once and copied for every run."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from autogpt_server.data.database import Database
from autogpt_server.data.urls import parse_database_url
from benchmarks.graphs import chain
from benchmarks.seed import seed
from benchmarks.server import ROOT, running_server
from tests.postgres_server import PostgresServer, find_binaries

CACHE = ROOT / ".cache" / "bench"
#: What a template is made from; one that was made from something else is made anew.
_SOURCES = (Path(__file__), Path(__file__).with_name("seed.py"), Path(__file__).with_name("graphs.py"))


def open_database(url: str, folder: Path) -> Database:
    """Open the database of a server for looking into it."""
    return Database(parse_database_url(url, folder), pool_size=1)


@contextmanager
def run_folder() -> Generator[Path]:
    """A folder for one run, beside the templates so that it is on the same disk."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as name:
        yield Path(name)


@contextmanager
def sqlite_copy(rows: int) -> Generator[tuple[str, Path]]:
    """A SQLite database with that many node executions, and the folder where it is."""
    template = _sqlite_template(rows)
    with run_folder() as folder:
        copy = folder / "database.db"
        shutil.copyfile(template, copy)
        # Its pages must not be on their way to the disk while we measure.
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        yield f"file:{copy}", folder


@contextmanager
def postgresql(rows: int) -> Generator[tuple[str, Path]]:
    """A PostgreSQL server with ``fsync``, that many node executions in it, and a folder for whoever uses it."""
    binaries = find_binaries()
    if binaries is None:
        raise RuntimeError("PostgreSQL's binaries are not installed: they come with the packages for development")
    options = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "256MB"}
    # Large enough that no checkpoint falls into a measurement.
    options |= {"max_wal_size": "4GB", "checkpoint_timeout": "30min"}
    with run_folder() as folder, PostgresServer(binaries, **options) as server, server.database() as url:
        _fill(url, folder, rows)
        yield url, folder


def _sqlite_template(rows: int) -> Path:
    template = CACHE / f"sqlite-{rows}-{_digest('sqlite')}.db"
    if not template.exists():
        with run_folder() as folder:
            made = folder / "database.db"
            _fill(f"file:{made}", folder, rows)
            made.rename(template)
    return template


def _fill(url: str, folder: Path, rows: int) -> None:
    document = chain(10)
    with running_server(folder, url) as server:
        graph_id = server.store(document)
    database = open_database(url, folder)
    seed(database, graph_id, [node["id"] for node in document["nodes"]], rows)
    finish = "PRAGMA wal_checkpoint(TRUNCATE)" if database.provider == "sqlite" else "VACUUM ANALYZE"
    with database.read() as connection:
        connection.execute(finish)
    database.close()


def _digest(provider: str) -> str:
    digest = hashlib.sha256()
    for path in [*_SOURCES, *sorted((ROOT / "migrations" / provider).rglob("*.sql"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
