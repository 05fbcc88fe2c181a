"""The least that durable node executions cost on SQLite: their rows, written in groups, and nothing else."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

#: Rows in one transaction: those of a hundred executions of a chain of ten.
_GROUP = 1_000
_COLUMNS = 12


def rate(folder: Path, rows: int) -> float:
    """Rows a second, with WAL and ``synchronous=FULL``, each transaction on the disk before the next begins."""
    with sqlite3.connect(folder / "bare.db", isolation_level=None) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"CREATE TABLE r (id TEXT PRIMARY KEY, {', '.join(f'c{i}' for i in range(1, _COLUMNS))})")
        marks = ",".join("?" * _COLUMNS)
        began = time.perf_counter()
        for first in range(0, rows, _GROUP):
            db.execute("BEGIN IMMEDIATE")
            db.executemany(f"INSERT INTO r VALUES ({marks})", (_row(i) for i in range(first, first + _GROUP)))
            db.execute("COMMIT")
        seconds = time.perf_counter() - began
    db.close()
    return rows / seconds


def _row(i: int) -> tuple[object, ...]:
    execution = f"00000000-0000-7000-8000-{i // 10:012d}"
    inputs, outputs = '{"operation":"Add","b":1,"a":1}', '[["result",2]]'
    return (f"{execution}.{i % 10}", execution, execution, i % 10, "COMPLETED", inputs, outputs, 1, 3, i, i, i)
