"""The counts of this process, to be reached from wherever something happens, as loggers are.

Nothing is counted until ``begin``: in tests of single parts, in commands, in the code of others.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from autogpt_server.telemetry.counts import Counts
from autogpt_server.telemetry.measures import Counter, Histogram

log = logging.getLogger(__name__)

_counts: Counts | None = None


def metrics_folder(run_folder: Path) -> Path:
    """Where the processes of a server count."""
    return run_folder / "metrics"


def begin(run_folder: Path, process: str) -> None:
    """Count from now on, under the name of a kind of process."""
    global _counts
    try:
        _counts = Counts(metrics_folder(run_folder), process)
    except OSError as error:
        log.warning("nothing will be counted: %s", error)


def end() -> None:
    """Count no more."""
    global _counts
    counts, _counts = _counts, None
    if counts is not None:
        counts.close()


def add(counter: Counter, amount: float, *labels: str) -> None:
    """Let a counter grow; see ``Counts``."""
    if _counts is not None and amount:
        _counts.add(counter, amount, *labels)


def observe(histogram: Histogram, values: Iterable[float], *labels: str) -> None:
    """Note values, many at a time; see ``Counts``."""
    if _counts is not None:
        _counts.observe(histogram, values, *labels)


def beat() -> None:
    """Note that this process does its work now."""
    if _counts is not None:
        _counts.beat()


def _forget_in_child() -> None:
    global _counts
    if _counts is not None:
        _counts.forget()
        _counts = None


os.register_at_fork(after_in_child=_forget_in_child)
