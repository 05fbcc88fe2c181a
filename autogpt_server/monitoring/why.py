"""Why something does not run: what an execution or a schedule waits for, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from autogpt_server.data.waits import RunningNode, Wait
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.schedule import OverlapPolicy, Schedule, Slot, SlotOutcome
from autogpt_server.model.turns import QUARANTINE

#: Seconds after its due time from which on a schedule counts as late.
_LATE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is waited for.

    Args:
        code: Stable, for programs.
        message: For people.
        fix: What would help; None where nothing needs to be done.
        facts: What the message is about: ids, times, numbers.
    """

    code: str
    message: str
    fix: str | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is true beside the execution itself.

    Args:
        executors: Executor processes that give signs of life.
        user_limit: Executions of one user that may run at the same time; None for any number.
        now: The present.
    """

    executors: int
    user_limit: int | None
    now: datetime


def why_execution(wait: Wait, around: Surroundings) -> list[Reason]:
    """Tell what an execution waits for, the first thing first."""
    if wait.status.is_final:
        message = f"it has ended {wait.status}" + (f": {wait.error}" if wait.error else "")
        fix = "run it again: POST /executions/{id}/rerun" if wait.status is not ExecutionStatus.COMPLETED else None
        return [Reason("ended", message, fix, {"ended_at": wait.ended_at})]
    return [*_asked_for(wait), *_by_status(wait, around)]


def _asked_for(wait: Wait) -> Iterator[Reason]:
    if wait.stop_requested_at is not None:
        yield Reason(
            "stopping",
            f"it was asked to stop at {_time(wait.stop_requested_at)}; blocks that run get a moment to end",
            facts={"stop_requested_at": wait.stop_requested_at},
        )
    elif wait.pause_requested_at is not None:
        yield Reason(
            "paused",
            f"somebody paused it at {_time(wait.pause_requested_at)}",
            "resume it: autogpt execution resume ID",
            {"pause_requested_at": wait.pause_requested_at},
        )


def _by_status(wait: Wait, around: Surroundings) -> Iterator[Reason]:
    if wait.status is ExecutionStatus.QUEUED:
        yield from _queued(wait, around)
    elif wait.status is ExecutionStatus.RUNNING:
        yield from _running(wait, around)
    elif wait.status is ExecutionStatus.INCOMPLETE:
        yield Reason("incomplete", "it was not accepted as a whole", "submit it again")


def _queued(wait: Wait, around: Surroundings) -> Iterator[Reason]:
    if not around.executors:
        yield _NO_EXECUTOR
    if wait.lane == QUARANTINE:
        yield Reason(
            "quarantine",
            f"an executor process died {wait.deaths} times while it ran; it runs again alone, after others like it",
            "look at the log for what killed the process",
            {"deaths": wait.deaths},
        )
    if wait.lane_limit and len(wait.running_in_lane) >= wait.lane_limit:
        yield _lane_is_full(wait)
    if around.user_limit is not None and len(wait.running_of_user) >= around.user_limit:
        yield Reason(
            "user_limit",
            f"{len(wait.running_of_user):,} executions of its user run, and no more than {around.user_limit:,} may",
            "wait for them, stop some, or raise AUTOGPT_MAX_CONCURRENT_PER_USER",
            {"running": wait.running_of_user[:10], "limit": around.user_limit},
        )
    if wait.before:
        yield Reason(
            "turn",
            f"{wait.before_text} executions of its user come before it",
            "submit it with a higher priority if it is more urgent",
            {"before": wait.before},
        )
    waited = (around.now - wait.created_at).total_seconds()
    if around.executors and not wait.before:
        yield Reason(
            "next",
            f"it has waited for {waited:,.1f} s and is among those that are claimed next; all executors may be busy",
            facts={"waited_seconds": round(waited, 3), "executors": around.executors},
        )


def _lane_is_full(wait: Wait) -> Reason:
    kind, _, owner = wait.lane.rpartition(":")
    running = ", ".join(wait.running_in_lane[:3])
    facts = {"running": wait.running_in_lane, "limit": wait.lane_limit}
    if kind == "schedule":
        message = f"its schedule's overlap policy lets it wait for {running}"
        return Reason(
            "overlap", message, "wait, stop that one, or choose another policy", {"schedule_id": owner, **facts}
        )
    if kind == "backfill":
        message = f"its backfill runs {wait.lane_limit:,} executions at the same time; these run: {running}"
        return Reason("backfill_limit", message, None, {"schedule_id": owner, **facts})
    message = f"its graph lets {wait.lane_limit:,} executions run at the same time; these run: {running}"
    return Reason("graph_limit", message, "wait for them, or raise max_concurrent of the graph's policy", facts)


_NO_EXECUTOR = Reason(
    "no_executor",
    "no executor process gives a sign of life",
    "start the server, or look at GET /api/health for what is wrong with its executors",
)


def _running(wait: Wait, around: Surroundings) -> Iterator[Reason]:
    if not around.executors:
        yield Reason(
            "no_executor",
            "the executor that ran it gives no sign of life; another one takes it over",
            _NO_EXECUTOR.fix,
        )
    for part, status in wait.parts:
        yield Reason(
            "part",
            f"it waits for execution {part}, which it started and which is {status}",
            f"ask for that one: autogpt why {part}",
            {"execution_id": part, "status": status.value},
        )
    for node in wait.running_nodes:
        yield _node(node, around.now)
    if not wait.parts and not wait.running_nodes:
        yield Reason("running", "it runs; between two nodes, or with nodes that ended without being recorded yet")


def _node(node: RunningNode, now: datetime) -> Reason:
    since = "" if node.started_at is None else f" since {_time(node.started_at)}"
    tries = f", in its try {node.tries}" if node.tries > 1 else ""
    name = node.block_name or "a block"
    return Reason(
        "node",
        f"node {node.node_id} ({name}) has been running{since}{tries}",
        None,
        {
            "node_id": node.node_id,
            "node_execution_id": node.id,
            "block_name": node.block_name,
            "tries": node.tries,
            "running_seconds": None if node.started_at is None else round((now - node.started_at).total_seconds(), 3),
        },
    )


@dataclass(frozen=True, slots=True)
class ScheduleSurroundings:
    """What is true beside the schedule itself.

    Args:
        has_graph: Whether what it executes is there.
        unfinished: Its executions that have not ended.
        last: Its latest slot.
        parked: Why its job row cannot be restored.
        due_at: When its next slot fires, jitter included.
        now: The present.
    """

    has_graph: bool
    unfinished: list[tuple[str, ExecutionStatus]]
    last: Slot | None
    parked: str | None
    due_at: datetime | None
    now: datetime


def why_schedule(schedule: Schedule, around: ScheduleSurroundings) -> list[Reason]:
    """Tell what a schedule waits for, the first thing first."""
    return [*_stands_still(schedule, around), *_comes_next(schedule, around), *_came_last(around)]


def _stands_still(schedule: Schedule, around: ScheduleSurroundings) -> Iterator[Reason]:
    if not schedule.is_enabled:
        by = f" by {schedule.paused_by}" if schedule.paused_by else ""
        at = f" at {_time(schedule.paused_at)}" if schedule.paused_at else ""
        reason = f": {schedule.paused_reason}" if schedule.paused_reason else ""
        yield Reason(
            "paused",
            f"it was paused{at}{by}{reason}",
            f"autogpt schedule resume {schedule.id}",
            {"paused_at": schedule.paused_at, "paused_by": schedule.paused_by, "reason": schedule.paused_reason},
        )
    if not around.has_graph:
        version = "" if schedule.graph_version is None else f" in version {schedule.graph_version}"
        yield Reason(
            "graph_gone",
            f"there is no graph {schedule.graph_id}{version} any more",
            "let it execute another graph or version, or delete it",
            {"graph_id": schedule.graph_id, "graph_version": schedule.graph_version},
        )
    if around.parked is not None:
        yield Reason(
            "parked", f"its job row cannot be restored: {around.parked}", "edit it, so that the row is made anew"
        )


def _comes_next(schedule: Schedule, around: ScheduleSurroundings) -> Iterator[Reason]:
    if not schedule.is_enabled:
        return
    due_at = around.due_at
    if due_at is None:
        yield _over(schedule, around.now)
        return
    late = (around.now - due_at).total_seconds()
    facts = {"next_run_at": due_at}
    if late > _LATE_SECONDS:
        yield Reason(
            "no_scheduler",
            f"it was due at {_time(due_at)}, and no scheduler has fired it for {late:,.0f} s",
            "start the server, or look at GET /api/health for what is wrong with its scheduler",
            facts,
        )
    else:
        yield Reason("not_due", f"it is due next at {_time(due_at)}", None, facts)
    if around.unfinished and schedule.overlap_policy is not OverlapPolicy.ALLOW:
        ids = [id_ for id_, _ in around.unfinished]
        yield Reason(
            "overlap",
            f"execution {ids[0]} has not ended, and its overlap policy is {schedule.overlap_policy.value}",
            f"ask what that one waits for: autogpt why {ids[0]}",
            {"unfinished": ids},
        )


def _over(schedule: Schedule, now: datetime) -> Reason:
    if schedule.max_runs is not None and schedule.runs >= schedule.max_runs:
        return Reason(
            "max_runs",
            f"it has run {schedule.runs:,} times, as often as it may",
            "raise max_runs",
            {"runs": schedule.runs, "max_runs": schedule.max_runs},
        )
    if schedule.ends_at is not None and schedule.ends_at <= now + timedelta(days=1):
        return Reason(
            "ended", f"it ends at {_time(schedule.ends_at)}", "set a later ends_at", {"ends_at": schedule.ends_at}
        )
    if schedule.run_at is not None:
        return Reason("ended", f"its one time was {_time(schedule.run_at)}", "set another run_at")
    return Reason("never", "no time comes at which it would be due", "look at its dates: autogpt schedule preview")


def _came_last(around: ScheduleSurroundings) -> Iterator[Reason]:
    last = around.last
    if last is not None and last.outcome in (SlotOutcome.SKIPPED, SlotOutcome.FAILED):
        reason = f": {last.reason}" if last.reason else ""
        yield Reason(
            f"last_{last.outcome.value}",
            f"its slot of {_time(last.scheduled_at)} was {last.outcome.value}{reason}",
            None,
            {"scheduled_at": last.scheduled_at, "reason": last.reason},
        )


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
