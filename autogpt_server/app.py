"""The composition root: which processes make the server, and in which order."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from autogpt_server.provision.provide import provide
from autogpt_server.provision.steps import SetUpFailed
from autogpt_server.service import child
from autogpt_server.service.supervisor import ProcessSpec, Supervisor

__all__ = ["PROCESSES", "main", "run_processes"]

#: The server.  What waits for the same process starts at the same time.
PROCESSES = (
    ProcessSpec("autogpt_server.data.migrations:migrate", once=True),
    ProcessSpec("autogpt_server.data.query_engine:QueryEngine", after=("migrate",)),
    # Stopped after the executors, so that clients see how what still runs ends; it refuses new work meanwhile.
    ProcessSpec("autogpt_server.server.agent_server:AgentServer", after=("QueryEngine",), is_told_early=True),
    ProcessSpec("autogpt_server.compose.scheduler:Scheduler", after=("migrate",)),
    ProcessSpec("autogpt_server.notifications.service:NotificationManager", after=("migrate",)),
    # Its own limit grows with the setting for draining, and is kept by itself.
    ProcessSpec("autogpt_server.executor.manager:ExecutionManager", after=("QueryEngine",), stop_within=3600),
)

#: What the fork server imports once for all processes; the large libraries come with our own modules.
PRELOAD = (
    "uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "autogpt_server.service.service",
    "autogpt_server.service.client",
    "autogpt_server.data.migrations",
    "autogpt_server.data.query_engine",
    "autogpt_server.executor.manager",
    "autogpt_server.compose.scheduler",
    "autogpt_server.notifications.service",
    "autogpt_server.server.agent_server",
)


def main() -> int:
    """Make what the server needs beside its Python packages where it is missing, then serve until Ctrl-C.

    Returns:
        The exit code: 0 after an orderly stop, 78 when something must be changed before it can start.
    """
    try:
        provide()
    except SetUpFailed as error:
        sys.stderr.write(f"autogpt-server: {error}\n")
        return child.REFUSED
    return run_processes()


def run_processes(
    processes: Sequence[ProcessSpec | str] = PROCESSES,
    *,
    preload: Sequence[str] = PRELOAD,
    address_of: str = "AgentServer",
) -> int:
    """Supervise processes until a signal says stop.

    Args:
        processes: In start order.  A plain import path starts when the one before it is ready.
        preload: Modules that the fork server imports once for all.
        address_of: The process whose address is printed when it is ready.

    Returns:
        0 after an orderly stop; 78 when a process refuses to start before a setting is changed.
    """

    def announce(name: str, facts: dict[str, Any]) -> None:
        if name == address_of and "port" in facts:
            # Whoever started us may have closed it; the server is wanted all the same.
            with contextlib.suppress(OSError):
                sys.stdout.write(f"{_release()} · {_url(facts)} · Swagger UI at /docs · Ctrl-C stops\n")
                if token := facts.get("token"):
                    command = f"autogpt key claim {token} --url {_url(facts, for_here=True)}"
                    sys.stdout.write(f"Nobody has a key yet. Get the first one: {command}\n")
                sys.stdout.flush()

    child.preload(preload)
    return Supervisor(_in_sequence(processes), on_ready=announce).run()


def _in_sequence(processes: Sequence[ProcessSpec | str]) -> list[ProcessSpec]:
    specs: list[ProcessSpec] = []
    for process in processes:
        before = (specs[-1].name,) if specs else ()
        specs.append(ProcessSpec(process, after=before) if isinstance(process, str) else process)
    return specs


def _url(facts: dict[str, Any], *, for_here: bool = False) -> str:
    host = str(facts.get("host", "127.0.0.1"))
    if for_here:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{facts['port']}"


def _release() -> str:
    try:
        return f"autogpt-server {version('autogpt-server')}"
    except PackageNotFoundError:
        return "autogpt-server"


if __name__ == "__main__":
    sys.exit(main())
