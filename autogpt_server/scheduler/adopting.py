"""Takes over schedules that another deployment stored as job rows alone."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from pydantic import ValidationError

from autogpt_server.data.stray_jobs import StrayJob
from autogpt_server.model import clock
from autogpt_server.model.jsonvalue import JsonValueError, plain
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.known_functions import EXECUTE_GRAPH
from autogpt_server.scheduler.rpc_models import GraphExecutionJobArgs
from autogpt_server.scheduler.triggers import UnixCronTrigger
from autogpt_server.scheduler.unpickling import NotRestorable, load_job_state
from autogpt_server.scheduler.zones import zone_names

#: Fields of a cron expression, by the names under which APScheduler's trigger has them.
_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
#: The largest number that all databases store in a column of whole numbers.
_MANY = 2**31 - 1
_PAUSED_REASON = "it was paused, or would never fire, when it was taken over"


def schedule_of_job(job: StrayJob) -> Schedule:
    """Make a schedule of a job row that executes a graph.

    Raises:
        NotRestorable: It does not, or something about it is wrong.
    """
    state = load_job_state(job.state)
    if state["func"] != EXECUTE_GRAPH:
        raise NotRestorable(f"it is a job of {state['func'].rpartition(':')[2]}, under an id that nobody gave it")
    if state["id"] != job.id:
        raise NotRestorable(f"its pickle is that of job {state['id'][:200]!r}")
    args = _arguments(state["kwargs"])
    now = clock.from_ms(clock.now_ms())
    next_run_at = job.next_run_at
    paused: dict[str, Any] = {"paused_at": now, "paused_by": "scheduler", "paused_reason": _PAUSED_REASON}
    return _storable(
        id=job.id,
        graph_id=args.graph_id,
        graph_version=args.graph_version,
        user_id=args.user_id,
        name=state["name"],
        inputs=args.input_data,
        credentials=args.model_dump(mode="json")["input_credentials"],
        is_enabled=next_run_at is not None,
        next_run_at=next_run_at,
        created_at=now,
        updated_at=now,
        **_times(state["trigger"], args.cron),
        **({} if next_run_at is not None else paused),
    )


def warning_of(schedule: Schedule) -> str | None:
    """Say what its users should know of a schedule that was taken over; None of any other."""
    if not schedule.is_adopted:
        return None
    text = "It was taken over from another deployment and fires as it did there"
    if schedule.cron:
        text += ": numbers of weekdays count from 0 for Monday, and both day fields must fit. Give it a cron"
    else:
        text += ". Give it new times"
    return f"{text} to move it to this server's own rules."


def _arguments(kwargs: dict[str, Any]) -> GraphExecutionJobArgs:
    try:
        args = GraphExecutionJobArgs.model_validate(kwargs)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors(include_input=False))
        raise NotRestorable(f"its arguments do not say what is executed: {fields}") from error
    if not 0 < args.graph_version < _MANY:
        raise NotRestorable(f"its arguments name version {args.graph_version} of the graph")
    return args


def _storable(**fields: Any) -> Schedule:
    """Make a schedule whose texts every database stores: one that is none would keep others from being taken over."""
    for name in ("id", "name", "user_id", "graph_id", "cron", "inputs", "credentials"):
        try:
            fields[name] = plain(fields.get(name, ""))
        except JsonValueError as error:
            raise NotRestorable(f"its {name} cannot be stored: {error}") from error
    return Schedule(**fields)


def _times(trigger: BaseTrigger, cron: str) -> dict[str, Any]:
    """Tell when a trigger fires, in a schedule's words; an adopted one goes by the trigger in its row."""
    if isinstance(trigger, UnixCronTrigger):
        return {
            "cron": trigger.expression.text,
            "timezone": trigger.timezone.key,
            "starts_at": _whole(trigger.start_date),
            "ends_at": _whole(trigger.end_date),
            "jitter_seconds": int(trigger.jitter or 0),
        }
    if isinstance(trigger, DateTrigger):
        return {"run_at": _whole(trigger.run_date), "timezone": _name(trigger.run_date.tzinfo), "is_adopted": True}
    if isinstance(trigger, IntervalTrigger):
        seconds = min(max(1, round(trigger.interval / timedelta(seconds=1))), _MANY)
        jitter = {"jitter_seconds": int(trigger.jitter or 0)}
        return {"interval_seconds": seconds, "timezone": _name(trigger.timezone), "is_adopted": True} | jitter
    assert isinstance(trigger, CronTrigger)
    fields = {one.name: str(one) for one in trigger.fields}
    written = " ".join(fields.get(name, "*") for name in _FIELDS)
    jitter = {"jitter_seconds": int(trigger.jitter or 0)}
    return {"cron": cron.strip() or written, "timezone": _name(trigger.timezone), "is_adopted": True} | jitter


def _name(zone: tzinfo | None) -> str:
    """Name a zone for showing times; an adopted trigger computes with its own."""
    return zone.key if isinstance(zone, ZoneInfo) and zone.key in zone_names() else "UTC"


def _whole(moment: datetime | None) -> datetime | None:
    return None if moment is None else clock.from_ms(clock.to_ms(moment))
