"""What the processes of this machine did last, and what is wrong with them, in words."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from autogpt_server.data.queue_depth import QueueDepth
from autogpt_server.server.shapes import Part, ProcessPart
from autogpt_server.settings import Settings
from autogpt_server.telemetry.counting import metrics_folder
from autogpt_server.telemetry.counts import ProcessCounts, read_counts
from autogpt_server.telemetry.measures import BEATS, CLAIM_LAG, COMMIT_ROWS, STARTS, WRITE_FAILURES

_EXECUTORS = ("Executor", "Quarantine")
#: Processes without which this machine's part of the server does not work.
_SERVICES = ("QueryEngine", "ExecutionManager", "Scheduler", "NotificationManager")
#: Seconds that an execution may wait while nobody claims anything, before that is called a problem.
_PATIENCE = 30.0
#: Seconds for which a write that failed counts, at least: whoever failed to write tries again sooner.
_RECENT = 5.0


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of this machine that live, and what is wrong with them, in words."""

    parts: list[ProcessPart]
    #: Services that stand still or are gone.
    faults: list[str]
    #: Who could not write to the database a moment ago.
    unwritten: list[str]


def look_at_processes(settings: Settings) -> Processes:
    """Read from their counts what the processes did last.

    A service that never ran on this machine need not run.
    """
    counts = list(read_counts(metrics_folder(settings.run_dir)))
    living = [one for one in counts if one.pid is not None]
    gone = {one.process for one in counts} - {one.process for one in living}
    faults = [f"{name} does not run; it is being started again" for name in _SERVICES if name in gone]
    parts = [_part(one) for one in living]
    limit = settings.process_stall_seconds
    for one in parts:
        age = one.last_beat_seconds
        # Before it is killed, so that it is seen at all.
        if one.process not in _EXECUTORS and age is not None and age > limit / 2:
            faults.append(
                f"{one.process} {one.pid} has stood still for {age:.0f} s; it is replaced after {limit:g} s "
                "(AUTOGPT_PROCESS_STALL_SECONDS)"
            )
    return Processes(parts, faults, [text for one in living if (text := _unwritten(settings, one)) is not None])


def _unwritten(settings: Settings, counts: ProcessCounts) -> str | None:
    age = _age(counts, WRITE_FAILURES.name)
    if age is None or age > max(_RECENT, settings.executor_lease_seconds / 2):
        return None
    return f"the database did not take what {counts.process} {counts.pid} wrote {age:.0f} s ago; its log says why"


def find_problems(
    settings: Settings, parts: Iterable[Part], processes: list[ProcessPart], depth: QueueDepth | None
) -> list[str]:
    """Say what is wrong.  An idle server has no problems, however long nothing was claimed or committed."""
    problems = [part.detail for part in parts if part.status != "ok"]
    executors = [one for one in processes if one.process in _EXECUTORS]
    for one in executors:
        age = one.last_beat_seconds
        if age is not None and age > settings.executor_lease_seconds:
            problems.append(f"{one.process} {one.pid} has given no sign of life for {age:.0f} s")
    running = sum(one.process == "Executor" for one in executors)
    if running < settings.executor_processes:
        problems.append(f"{running} of {settings.executor_processes} executor processes run on this machine")
    if depth is not None and depth.quarantined:
        problems.append(
            "executions during which an executor process died run one by one in quarantine; "
            f"{depth.quarantined:,} wait for that"
        )
    waits = 0.0 if depth is None else depth.oldest_other_seconds
    claims = [
        one.last_claim_seconds for one in executors if one.process == "Executor" and one.last_claim_seconds is not None
    ]
    if waits > _PATIENCE and min(claims, default=waits) > _PATIENCE:
        problems.append(
            f"an execution has waited for {waits:.0f} s, and nothing was claimed for {min(claims, default=waits):.0f} s"
        )
    return problems


def _part(counts: ProcessCounts) -> ProcessPart:
    beats = _age(counts, BEATS.name)
    commits = _age(counts, COMMIT_ROWS.name, "record")
    assert counts.pid is not None
    return ProcessPart(
        process=counts.process,
        pid=counts.pid,
        # Every commit of an executor is a beat, and so is its beginning.
        last_beat_seconds=_youngest(beats, commits, _age(counts, STARTS.name))
        if counts.process in _EXECUTORS
        else _seconds_since(counts.beat_at),
        last_claim_seconds=_age(counts, CLAIM_LAG.name),
        last_commit_seconds=_youngest(commits, _age(counts, COMMIT_ROWS.name, "accept")),
    )


def _age(counts: ProcessCounts, name: str, *labels: str) -> float | None:
    width = 1 + len(labels)
    times = [when for key, when in counts.changed_at.items() if key[:width] == (name, *labels)]
    return _seconds_since(max(times, default=None))


def _seconds_since(moment: float | None) -> float | None:
    return None if moment is None else round(max(0.0, time.monotonic() - moment), 3)


def _youngest(*ages: float | None) -> float | None:
    return min((age for age in ages if age is not None), default=None)
