"""The functions that job rows name.  Their paths never change: rows out there name them.

What a system task does belongs to rooms that the scheduler does not know; whoever composes the process binds it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from autogpt_server.scheduler.rpc_models import NotificationJobArgs

log = logging.getLogger(__name__)

#: What a task answers that nothing is bound to.
NOT_CONFIGURED = "not configured"

Task = Callable[..., str | None]
"""Does what a system task is for; may return a message about it."""

_bound: dict[str, Task] = {}


def bind(name: str, task: Task | None) -> None:
    """Say what a system task of this process does; None for nothing any more.

    Args:
        name: ``process_existing_batches``, which takes ``NotificationJobArgs``, or ``process_weekly_summary``,
            ``report_late_executions``, ``report_block_error_rates``, ``cleanup_expired_files`` or ``prune_history``,
            which take nothing.
        task: Called in a thread.
    """
    if task is None:
        _bound.pop(name, None)
    else:
        _bound[name] = task


def execute_graph(**kwargs: Any) -> None:
    """Do nothing: schedules of graphs are fired by timers.py, whoever else finds a job of theirs due."""
    log.warning("a job of graph %s was run by somebody else than the scheduler's timers", kwargs.get("graph_id"))


def process_existing_batches(**kwargs: Any) -> str | None:
    """Send the batches of notifications that wait, of the types that the arguments name."""
    return _run("process_existing_batches", NotificationJobArgs.model_validate(kwargs))


def process_weekly_summary() -> str | None:
    """Queue the weekly summaries of those whose week is over."""
    return _run("process_weekly_summary")


def report_late_executions() -> str | None:
    """Report executions that have been waiting for too long."""
    return _run("report_late_executions")


def report_block_error_rates() -> str | None:
    """Report blocks that fail too often."""
    return _run("report_block_error_rates")


def cleanup_expired_files() -> str | None:
    """Remove files whose time is over."""
    return _run("cleanup_expired_files")


def prune_history() -> str | None:
    """Delete executions and slots that are older than they are to be kept."""
    return _run("prune_history")


def _run(name: str, *arguments: NotificationJobArgs) -> str | None:
    task = _bound.get(name)
    return NOT_CONFIGURED if task is None else task(*arguments)
