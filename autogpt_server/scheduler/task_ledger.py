"""Writes down each run of a system task: why it ran, what it answered, how long it took."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from autogpt_server.data.task_runs import TaskCause, TaskOutcome, TaskRuns
from autogpt_server.errors import Unavailable

log = logging.getLogger(__name__)

#: Why a task runs in this thread, and for which slot.
_cause: ContextVar[TaskCause] = ContextVar("cause", default=TaskCause.SCHEDULE)
_slot: ContextVar[datetime | None] = ContextVar("slot", default=None)


@contextmanager
def on_request() -> Generator[None]:
    """Let what runs inside be written down as asked for by somebody, not by its schedule."""
    token = _cause.set(TaskCause.REQUEST)
    try:
        yield
    finally:
        _cause.reset(token)


@contextmanager
def for_slot(scheduled_at: datetime) -> Generator[None]:
    """Let what runs inside be written down as run for a slot."""
    token = _slot.set(scheduled_at)
    try:
        yield
    finally:
        _slot.reset(token)


def recorded(name: str, task: Callable[..., str | None], runs: TaskRuns) -> Callable[..., str | None]:
    """Make a task that does the same and is written down.  Where that cannot be, it is done all the same."""

    def run(*arguments: Any) -> str | None:
        id_ = _begin(runs, name)
        try:
            result = task(*arguments)
        except Exception as error:
            _end(runs, id_, TaskOutcome.FAILED, f"{type(error).__name__}: {error}")
            raise
        _end(runs, id_, TaskOutcome.COMPLETED, result)
        return result

    return run


def _begin(runs: TaskRuns, name: str) -> str | None:
    try:
        return runs.begin(name, _cause.get(), _slot.get())
    except Unavailable as error:
        log.warning("the ledger does not know of a run of %s: %s", name, error)
        return None


def _end(runs: TaskRuns, id_: str | None, outcome: TaskOutcome, result: str | None) -> None:
    if id_ is None:
        return
    try:
        runs.end(id_, outcome, result)
    except Unavailable as error:
        log.warning("the ledger does not know how run %s of a task ended: %s", id_, error)
