"""Tells when an executor process takes more than it may, for limits that the kernel does not keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import psutil

from autogpt_server.executor import child_count
from autogpt_server.executor.child_count import has_children
from autogpt_server.executor.confinement import executor_folder
from autogpt_server.settings import Settings


def excess(settings: Settings, pid: int) -> str | None:
    """Say what a process and those below it take too much of; None when they do not, or are gone."""
    try:
        process = psutil.Process(pid)
        children: list[psutil.Process] = []
        if has_children(executor_folder(settings, pid) / "children"):
            children = process.children(recursive=True)
    except psutil.Error:
        return None
    if len(children) > settings.executor_max_children:
        return (
            f"its blocks started more than {settings.executor_max_children} processes (AUTOGPT_EXECUTOR_MAX_CHILDREN)"
        )
    limit = settings.executor_memory_mb << 20
    family = [process, *children]
    # Exactly only where it must be: that takes many times as long.
    if _sum(family, _resident) > limit and (not children or _sum(family, _own_share) > limit):
        return f"it used more than {settings.executor_memory_mb:,} MB of memory (AUTOGPT_EXECUTOR_MEMORY_MB)"
    return None


def is_crowded(settings: Settings, pid: int) -> bool:
    """Tell whether blocks of an executor keep so many processes alive that no other block there may start one."""
    return child_count.is_crowded(executor_folder(settings, pid) / "children", pid, settings.executor_max_children)


def _sum(processes: Iterable[psutil.Process], memory_of: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += memory_of(process)
    return total


def _resident(process: psutil.Process) -> int:
    """Bytes of memory, those that it shares with others included."""
    return process.memory_info().rss


def _own_share(process: psutil.Process) -> int:
    """Bytes of memory, of shared ones its share: what forked processes have in common counts once."""
    info: Any = process.memory_full_info()
    return getattr(info, "pss", info.uss)
