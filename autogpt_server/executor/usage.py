"""Tells when an executor process takes more than it may, for limits that the kernel does not keep."""

from __future__ import annotations

import psutil

from autogpt_server.executor.child_count import has_children
from autogpt_server.executor.confinement import executor_folder
from autogpt_server.settings import Settings


def excess(settings: Settings, pid: int) -> str | None:
    """Say what a process and those below it take too much of; None when they do not, or are gone."""
    try:
        process = psutil.Process(pid)
        memory = process.memory_info().rss
        children: list[psutil.Process] = []
        if has_children(executor_folder(settings, pid) / "children"):
            children = process.children(recursive=True)
    except psutil.Error:
        return None
    if len(children) > settings.executor_max_children:
        return (
            f"its blocks started more than {settings.executor_max_children} processes (AUTOGPT_EXECUTOR_MAX_CHILDREN)"
        )
    memory += sum(_memory(child) for child in children)
    if memory > settings.executor_memory_mb << 20:
        return f"it used more than {settings.executor_memory_mb:,} MB of memory (AUTOGPT_EXECUTOR_MEMORY_MB)"
    return None


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
