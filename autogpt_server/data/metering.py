"""Counts what group commits made durable: once per commit, in the thread that committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from autogpt_server.data.accepting import Accepted, Submission
from autogpt_server.data.connection import Connection
from autogpt_server.data.ends import Ends
from autogpt_server.data.records import Record
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import ACCEPTED, COMMIT_ROWS, COMMIT_SECONDS, EXECUTIONS

Item = TypeVar("Item")
Result = TypeVar("Result")


class Metered(Generic[Item, Result]):
    """A ``write`` function of a group commit that remembers what it wrote until that is durable.

    Args:
        kind: Under which the commits are counted.
        write: Writes a batch.
        count: Counts a batch that is durable, and returns its rows.
    """

    def __init__(
        self,
        kind: str,
        write: Callable[[Connection, list[Item]], list[Result]],
        count: Callable[[list[Item], list[Result]], int],
    ) -> None:
        self._kind, self._write, self._count = kind, write, count
        self._began = 0.0
        self._results: list[Result] = []

    def write(self, connection: Connection, items: list[Item]) -> list[Result]:
        """Write a batch, perhaps once more: the last time counts."""
        self._began = time.perf_counter()
        self._results = self._write(connection, items)
        return self._results

    def committed(self, items: list[Item]) -> list[Result]:
        """Count the batch that was written last, which is durable, and return its results."""
        seconds = time.perf_counter() - self._began
        rows = self._count(items, self._results)
        counting.observe(COMMIT_SECONDS, (seconds,), self._kind)
        counting.observe(COMMIT_ROWS, (rows,), self._kind)
        return self._results


def count_submissions(submissions: list[Submission], results: list[Accepted | None]) -> int:
    """Count executions that were accepted; those that repeat an idempotency key are among them."""
    pairs = zip(submissions, results, strict=True)
    stored = [one for s, result in pairs if result is not None for one in zip(s.executions, result, strict=True)]
    counting.add(ACCEPTED, len(stored))
    # Parts of what was stopped meanwhile.  A repeated key only tells the status of the first one.
    over = sum(status is ExecutionStatus.TERMINATED and new.idempotency_key is None for new, (_, status) in stored)
    counting.add(EXECUTIONS, over, ExecutionStatus.TERMINATED.value)
    return len(stored)


def count_records(records: list[Record], results: list[bool]) -> int:
    """Count what ended, by its final status."""
    ends = Ends()
    rows = 0
    for record, is_written in zip(records, results, strict=True):
        if not is_written:
            continue
        rows += len(record.nodes)
        ends.nodes.update([node.status for node in record.nodes if node.sequence is not None])
        if record.ending is not None:
            rows += 1
            ends.executions[record.ending.status.value] += 1
            if record.left_running is not None:
                ends.add(record.left_running)
    ends.count()
    return rows
