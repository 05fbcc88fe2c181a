"""Job rows as others write them: APScheduler elsewhere, and people who want to get in."""

from __future__ import annotations

import functools
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apscheduler.triggers.cron import CronTrigger

#: Makes rows as another deployment does, whose modules exist nowhere else.
_ELSEWHERE = """
import json, pickle, sys, types
from datetime import datetime, timezone
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
import enum
for name in ("backend", "backend.executor", "backend.executor.scheduler", "backend.data.notifications"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["prisma.enums"] = types.ModuleType("prisma.enums")
def made(module, name):
    def function(**kwargs): pass
    function.__module__, function.__name__, function.__qualname__ = module, name, name
    setattr(sys.modules[module], name, function)
    return function
class NotificationType(str, enum.Enum):
    DAILY_SUMMARY = "DAILY_SUMMARY"
NotificationType.__module__ = "prisma.enums"
sys.modules["prisma.enums"].NotificationType = NotificationType
scheduler = BackgroundScheduler()
scheduler.start(paused=True)
for given in json.loads(sys.argv[1]):
    kwargs = given["kwargs"]
    if given["enum"]:
        kwargs = {"notification_types": [NotificationType.DAILY_SUMMARY], "cron": "0 * * * *"}
    job = scheduler.add_job(
        made("backend.executor.scheduler", given["function"]), eval(given["trigger"]), kwargs=kwargs, id=given["id"],
        name=given["name"])
    at = given["next_run_time"]
    job._modify(next_run_time=at and datetime.fromtimestamp(at, timezone.utc))
    sys.stdout.write(pickle.dumps(job.__getstate__(), given["protocol"]).hex() + "\\n")
"""

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ARGUMENTS: dict[str, Any] = {
    "user_id": "u", "graph_id": "g", "graph_version": 2, "cron": "0 9 * * 1", "input_data": {"x": [1, None]},
    "input_credentials": {"key": {"id": "c", "title": None, "provider": "github", "type": "api_key"}},
}  # fmt: skip


@dataclass
class Elsewhere:
    """A job that another deployment stores."""

    id: str
    trigger: str = "CronTrigger.from_crontab('0 9 * * 1', timezone='Europe/Berlin')"
    function: str = "execute_graph"
    kwargs: dict[str, Any] | None = None
    next_run_time: float | None = NOON.timestamp()
    name: str = "mine"
    protocol: int = pickle.HIGHEST_PROTOCOL
    #: Whether its arguments are those of a batch of notifications.
    enum: bool = False


def stored_elsewhere(*jobs: Elsewhere) -> list[bytes]:
    """Return the pickles that another deployment makes of its jobs."""
    given = [{**vars(job), "kwargs": ARGUMENTS if job.kwargs is None else job.kwargs} for job in jobs]
    return [bytes.fromhex(line) for line in _made_elsewhere(json.dumps(given)).split()]


@functools.cache
def _made_elsewhere(given: str) -> str:
    # It takes a process, and most tests want the same ones.
    command = [sys.executable, "-c", _ELSEWHERE, given]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


def state(**changes: Any) -> dict[str, Any]:
    """Return what APScheduler pickles of a job."""
    return {
        "version": 1, "id": "j", "func": "autogpt_server.scheduler.jobs:execute_graph",
        "trigger": CronTrigger.from_crontab("0 9 * * 1", timezone="UTC"), "executor": "default", "args": (),
        "kwargs": ARGUMENTS, "name": "mine", "misfire_grace_time": 1, "coalesce": True, "max_instances": 1,
        "next_run_time": NOON,
    } | changes  # fmt: skip


class Gadget:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


class Filling:
    """Pickles as something that is made, and then filled with values."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], values: Any) -> None:
        self._call = function, arguments, values

    def __reduce__(self) -> Any:
        return self._call
