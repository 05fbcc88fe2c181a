"""What happens when an executor process is refused memory."""

from __future__ import annotations

import os

import psutil

from autogpt_server.executor.exit_reasons import OUT_OF_MEMORY
from autogpt_server.model.block import BlockError


class MemoryWatch:
    """Decides whether a ``MemoryError`` is the affair of one node or of the whole process.

    A single allocation may be absurd while there is memory enough: then only its node fails.  Where the memory is used
    up, whoever asks next is refused, guilty or not: the process leaves, and what ran is run again alone.

    Args:
        limit_mb: Megabytes that the process may use.
        runs_alone: What runs here runs alone: it is to blame, and the process goes on.
    """

    def __init__(self, limit_mb: int, *, runs_alone: bool) -> None:
        self._limit_mb, self._runs_alone = limit_mb, runs_alone

    def refused(self) -> BlockError:
        """Leave, or give the error that the node ends with.  To be called while what was allocated is still held."""
        if not self._runs_alone and self._is_used_up():
            os._exit(OUT_OF_MEMORY)
        return BlockError(
            f"ran out of memory; an executor process may use {self._limit_mb:,} MB (AUTOGPT_EXECUTOR_MEMORY_MB)"
        )

    def _is_used_up(self) -> bool:
        try:
            return psutil.Process().memory_info().rss > self._limit_mb << 19
        except MemoryError:
            return True
