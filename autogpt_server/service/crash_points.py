"""Named places where a process may die with something half done, so that tests can let it die exactly there.

Off, a place costs one comparison.  ``arm`` turns them on for a process: from then on each passage of a place takes the
highest of the files ``<name>.<number>`` in a folder, and whoever takes number 1 does what the file says: ``kill`` or
``stop`` (SIGKILL or SIGSTOP to itself), ``kill-parent`` (SIGKILL to the process that it was forked from).  Files are
taken by renaming, so all processes of a server count together, and each arming fires once.

Standard library only.  ``engine/crash_points.mjs`` is the same for the query engine.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

#: Every place, and what is half done there.
POINTS = {
    "migration.applied": "a migration's statements ran and nothing is committed",
    "migration.committed": "one migration is committed, the next one and the answer are not",
    "process.entered": "a process lives, and its starter does not know yet whether it will be ready",
    "accept.written": "executions are inserted and not committed",
    "handover.written": "an execution is accepted and claimed for an executor in an open transaction",
    "accept.committed": "executions are stored; no executor was nudged, nobody was answered",
    "answer.ready": "executions are stored; the client has no answer",
    "stop.written": "a request to stop, pause or resume is written and not committed",
    "stop.committed": "a request to stop, pause or resume is stored; nobody was nudged or answered",
    "lease.written": "a new lease is inserted and not committed",
    "lease.committed": "a lease is stored whose owner has told nobody of it",
    "claim.written": "executions are RUNNING in an open transaction",
    "claim.committed": "executions are RUNNING, and their executor does not know them yet",
    "handover.heard": "an execution is RUNNING, and its executor was just told so",
    "node.opened": "a node's inputs are frozen, its RUNNING row is not written",
    "node.recorded": "a node's RUNNING row is stored, its block has not begun",
    "node.ran": "a block has ended with its effects, and only its process knows",
    "stream.taken": "a streaming block has yielded, and only its process knows",
    "stream.recorded": "what a streaming block yielded is stored and was not delivered",
    "record.written": "starts and ends of nodes are written and not committed",
    "record.committed": "starts and ends of nodes are stored; their run does not know, nobody was nudged",
    "end.decided": "all nodes of an execution have ended, its final status is not written",
    "end.written": "the final status is written with the last rows and not committed",
    "end.committed": "the final status is stored, its executor still holds the execution",
    "hand_back.written": "executions are QUEUED again in an open transaction",
    "hand_back.committed": "executions are QUEUED again, their executor still stops",
    "lease.end_written": "a lease is given back in an open transaction",
    "lease.end_committed": "a lease is given back, its process still lives",
    "death.seen": "an executor is known to be dead, nothing of it was given back",
    "rescue.fenced": "a dead executor's epoch is raised in an open transaction, its executions are still RUNNING",
    "rescue.written": "a dead executor's executions are QUEUED or parked in an open transaction",
    "rescue.committed": "a dead executor's work is given back, its marks are still there and nobody was nudged",
    "schedule.written": "a schedule and its job row are changed and not committed",
    "schedule.committed": "a schedule is changed; nobody who fires it was told, nobody was answered",
    "slots.written": "due slots are claimed in an open transaction, their executions are not written",
    "slots.accepted": "due slots and their executions are written and not committed",
    "slots.committed": "due slots and their executions are stored; no executor was nudged, the schedules are still due",
    "advance.written": "the next slots of schedules are written and not committed",
    "advance.committed": "the next slots of schedules are stored",
    "message.claimed": "a message to a user is claimed and not sent",
    "message.sent": "a message to a user is sent, and only its sender knows",
    "keys.added": "a new key encrypts, all secrets are under the old ones",
    "keys.renewed": "some secrets are under the new key, others are not",
    "keys.dropped": "the old keys are gone, nobody was told",
    "oauth.refreshed": "a provider has given new tokens, and only one process knows",
    "restore.emptied": "all tables are emptied in an open transaction",
    "restore.filled": "all tables are filled from a backup in an open transaction",
    "restore.written": "a backup is restored and not committed",
    "engine.written": "the query engine has written in an open transaction",
    "engine.committed": "the query engine has committed, the client has no answer",
}

_folder: str | None = None


def arm(folder: Path | None) -> None:
    """Turn all places of this process on, or off with None."""
    global _folder
    _folder = None if folder is None else str(folder)


def crash_point(name: str) -> None:
    """Pass the place of this name."""
    if _folder is not None:
        _pass(_folder, name)


def _pass(folder: str, name: str) -> None:
    prefix = f"{name}."
    numbers = sorted(
        (int(file[len(prefix) :]) for file in os.listdir(folder) if _is_armed(file, prefix)),
        reverse=True,
    )
    for number in numbers:
        armed, taken = f"{folder}/{prefix}{number}", f"{folder}/{prefix}{number}.{os.getpid()}"
        try:
            os.rename(armed, taken)
        except FileNotFoundError:
            # Another thread or process has taken it.
            continue
        if number == 1:
            _act(Path(taken).read_text())
        return


def _is_armed(file: str, prefix: str) -> bool:
    return file.startswith(prefix) and file[len(prefix) :].isdecimal()


def _act(how: str) -> None:
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "kill-parent":
            os.kill(os.getppid(), signal.SIGKILL)
        case _:
            raise ValueError(f"no such action: {how}")
