"""The one way to make and change schedules: checks everything, then writes the schedule and its job row as one.

REST, RPC and the command line all come through here.  Firing needs none of it: see timers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from autogpt_server.credentials.check import CredentialsCheck
from autogpt_server.data.database import Database
from autogpt_server.data.firing import Firing
from autogpt_server.data.graph_versions import Wanted, find_version, load_version
from autogpt_server.data.job_tables import JobRow
from autogpt_server.data.pages import Page
from autogpt_server.data.queue import inputs_text
from autogpt_server.data.schedules import Schedules
from autogpt_server.data.slots import Slots
from autogpt_server.errors import ConflictError, InvalidError, NotAuthorizedError
from autogpt_server.model import clock
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import new_id
from autogpt_server.model.jsonvalue import plain
from autogpt_server.model.schedule import ExcludedDates, MisfirePolicy, OverlapPolicy, Schedule, Slot
from autogpt_server.scheduler.adopted import AdoptedTriggers
from autogpt_server.scheduler.backfill import checked_target
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.runs_left import check_runs_left, find_problem
from autogpt_server.scheduler.schedule_checks import check_execution, check_times
from autogpt_server.scheduler.timetable import next_due

#: The name of a schedule that was given none, as APScheduler names a job by its function.
DEFAULT_NAME = "execute_graph"


#: Fields that say when a schedule is due, and with them those on which it depends whether it runs at all.
_TIMETABLE = frozenset({"cron", "run_at", "interval_seconds", "timezone", "starts_at", "ends_at"})
_TIMES = _TIMETABLE | {"max_runs", "excluded_dates"}
_RESUMED = {"is_enabled": True, "paused_at": None, "paused_by": None, "paused_reason": None}


@dataclass(frozen=True)
class NewSchedule:
    """What somebody wants scheduled.  Exactly one of cron, run_at and interval_seconds; times are aware."""

    graph_id: str
    cron: str | None = None
    run_at: datetime | None = None
    interval_seconds: int | None = None
    name: str | None = None
    #: None follows the active version.
    graph_version: int | None = None
    timezone: str = "UTC"
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    credentials: dict[str, Any] = field(default_factory=dict[str, Any])
    misfire_policy: MisfirePolicy = MisfirePolicy.LATEST
    misfire_limit: int = 100
    overlap_policy: OverlapPolicy = OverlapPolicy.ALLOW
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    max_runs: int | None = None
    jitter_seconds: int = 0
    excluded_dates: tuple[ExcludedDates, ...] = ()
    pause_after_failures: int | None = None


#: Schedules that are paused in one step.
_PAGE = 100


class Scheduling:
    """Makes and changes schedules.  Blocking: call in a thread from a loop.

    Args:
        database: Where they are.
        announce: Called with ids after the commit that changed them, to wake who fires them.
    """

    def __init__(
        self, database: Database, announce: Callable[[list[str]], None], check: CredentialsCheck | None = None
    ) -> None:
        self._db, self._check = database, check
        self._schedules, self._slots = Schedules(database, announce), Slots(database)
        self._firing, self._triggers = Firing(database), AdoptedTriggers(database)

    def create(self, user_id: str, new: NewSchedule) -> Schedule:
        """Store a schedule of a user.

        Raises:
            GraphNotFound: Unknown, or another user's.
            InvalidError: Something of it is wrong; names every field, and what would be right.
        """
        new = replace(new, cron=new.cron.strip() if new.cron else new.cron)
        now = clock.from_ms(clock.now_ms())
        check_times(new, now)
        new = _as_stored(new)
        checked = self._check_inputs(user_id, new)
        schedule = Schedule(
            id=new_id(),
            graph_id=new.graph_id,
            graph_version=new.graph_version,
            checked_version=checked,
            user_id=user_id,
            name=new.name or DEFAULT_NAME,
            cron=new.cron or "",
            run_at=new.run_at,
            interval_seconds=new.interval_seconds,
            timezone=new.timezone,
            inputs=plain(new.inputs),
            credentials=plain(new.credentials),
            misfire_policy=new.misfire_policy,
            misfire_limit=new.misfire_limit,
            overlap_policy=new.overlap_policy,
            starts_at=new.starts_at,
            ends_at=new.ends_at,
            max_runs=new.max_runs,
            jitter_seconds=new.jitter_seconds,
            excluded_dates=new.excluded_dates,
            pause_after_failures=new.pause_after_failures,
            created_at=now,
            updated_at=now,
        )
        schedule = _timed(schedule, now, None)
        check_runs_left(schedule)
        self._schedules.create(schedule, job_row(schedule))
        return schedule

    def get(self, user_id: str, schedule_id: str) -> Schedule:
        """Read one.

        Raises:
            ScheduleNotFound: Unknown, or another user's.
        """
        return self._schedules.get(user_id, schedule_id)

    def list(
        self,
        user_id: str,
        graph_id: str | None = None,
        is_enabled: bool | None = None,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Schedule]:
        """Read a page of a user's schedules, the newest first: of one graph or of all, paused or not or both."""
        return self._schedules.list(user_id, graph_id, is_enabled, limit=limit, cursor=cursor)

    def firing(self, user_id: str | None, graph_id: str | None) -> list[Schedule]:
        """Read all that will fire: of a user, of a graph, of both, or every one."""
        return self._schedules.firing(user_id, graph_id)

    def edit(
        self, user_id: str, schedule_id: str, changes: dict[str, Any], *, is_enabled: bool | None = None
    ) -> Schedule:
        """Change fields of a schedule, by their names in ``NewSchedule``; what is not named stays.

        An edit of its times moves an adopted one to Unix cron.  A new time is counted from now on.

        Args:
            user_id: Who changes it.
            schedule_id: Of the schedule.
            changes: New values by name.
            is_enabled: Also resumes it, or pauses it.

        Raises:
            ScheduleNotFound: Unknown, or another user's.
            InvalidError: Something is wrong with it after that.
        """
        before = self._schedules.get(user_id, schedule_id)
        after = _changed(before, changes)
        now = clock.now()
        check_times(after, now, was=_as_new(before))
        after = _as_stored(after)
        checked = before.checked_version
        if {"inputs", "credentials", "graph_version"} & changes.keys():
            checked = self._check_inputs(user_id, after)
        is_retimed = bool(_TIMETABLE & changes.keys())
        trigger = None if is_retimed else self._triggers.of(before)

        def change(present: Schedule) -> Schedule:
            _check_unchanged(before, present)
            fields = {name: getattr(after, name) for name in changes} | {"checked_version": checked}
            fields |= {name: plain(fields[name]) for name in ("inputs", "credentials") if name in fields}
            fields |= {"cron": after.cron or ""} | ({"name": after.name or DEFAULT_NAME} if "name" in changes else {})
            if is_retimed:
                fields |= {"run_at": after.run_at, "interval_seconds": after.interval_seconds, "is_adopted": False}
            if is_enabled is False:
                fields |= _paused(now)
            elif is_enabled and not present.is_enabled:
                fields |= _RESUMED
            edited = present.model_copy(update=fields)
            if not edited.is_enabled or (present.is_enabled and not _TIMES & changes.keys()):
                return edited
            # One that was over goes on, for example where it may run more often now.
            if is_retimed or edited.next_run_at is None:
                edited = _timed(edited, now, trigger)
            check_runs_left(edited, trigger)
            return edited

        return self._schedules.edit(schedule_id, change, lambda schedule: self._job(schedule, trigger))

    def pause(self, user_id: str, schedule_id: str, *, by: str | None = None, reason: str | None = None) -> Schedule:
        """Let a schedule fire no more until it is resumed; a repeated pause only changes who and why."""
        trigger = self._triggers.of(self._schedules.get(user_id, schedule_id))
        news = _paused(clock.now(), by, reason)
        return self._schedules.edit(
            schedule_id,
            lambda schedule: schedule.model_copy(update=news),
            lambda schedule: self._job(schedule, trigger),
        )

    def resume(self, user_id: str, schedule_id: str) -> Schedule:
        """Let a paused schedule fire again, from its next slot after now on: those of the pause are not made up for.

        Raises:
            ConflictError: None comes any more.
        """
        trigger = self._triggers.of(self._schedules.get(user_id, schedule_id))
        now = clock.now()

        def change(schedule: Schedule) -> Schedule:
            if schedule.is_enabled:
                return schedule
            resumed = _timed(schedule.model_copy(update=_RESUMED), now, trigger)
            if find_problem(resumed, trigger) is not None:
                raise ConflictError(f"Schedule {schedule_id} has no run to come; give it new times instead.")
            return resumed

        return self._schedules.edit(schedule_id, change, lambda schedule: self._job(schedule, trigger))

    def delete(self, user_id: str, schedule_id: str, *, tells_owner: bool = False) -> Schedule:
        """Delete a schedule for good; returns it as it was.

        Args:
            user_id: Who deletes.
            schedule_id: Of the schedule.
            tells_owner: Say that it is another user's, instead of that there is none.

        Raises:
            ScheduleNotFound: Unknown, or another user's.
            NotAuthorizedError: Another user's, where that is told.
        """
        if not tells_owner:
            self._schedules.get(user_id, schedule_id)

        def check(schedule: Schedule) -> None:
            if schedule.user_id != user_id:
                raise NotAuthorizedError(f"Schedule {schedule_id} belongs to another user.")

        return self._schedules.delete(schedule_id, check)

    def run_now(self, user_id: str, schedule_id: str) -> str:
        """Accept an execution of a schedule beside its times, be it paused or not; returns its id.

        Whoever calls this nudges the executors.

        Raises:
            ScheduleNotFound: Unknown, or another user's.
            GraphNotFound: Its graph is gone.
            InvalidError: Its inputs do not fit the version that it would execute.
        """
        schedule = self._schedules.get(user_id, schedule_id)
        target, graph = checked_target(self._db, self._firing, schedule)
        self._check_credentials(user_id, graph, schedule.inputs, schedule.credentials)
        return self._firing.run_now(schedule, target, inputs_text(schedule.execution_inputs))

    def slots(self, user_id: str, schedule_id: str, *, limit: int = 100, cursor: str | None = None) -> Page[Slot]:
        """Read a page of what became of a schedule's slots, the latest first."""
        self._schedules.get(user_id, schedule_id)
        return self._slots.list(schedule_id, limit=limit, cursor=cursor)

    def _check_inputs(self, user_id: str, new: NewSchedule) -> int:
        found = find_version(self._db, Wanted(user_id, new.graph_id, new.graph_version))
        graph = load_version(self._db, new.graph_id, found)
        check_execution(graph, new.inputs, new.credentials)
        self._check_credentials(user_id, graph, new.inputs, new.credentials)
        return found

    def _check_credentials(
        self, user_id: str, graph: Graph, inputs: dict[str, Any], credentials: dict[str, Any]
    ) -> None:
        if self._check is not None:
            given = [("inputs", inputs), ("credentials", credentials)]
            problems = self._check.problems(user_id, graph, given)
            if problems:
                raise InvalidError("The schedule names credentials that cannot be used.", problems)

    def _job(self, schedule: Schedule, trigger: Any) -> JobRow | None:
        return job_row(schedule, trigger if schedule.is_adopted else None)


def _paused(now: datetime, by: str | None = None, reason: str | None = None) -> dict[str, Any]:
    # In whole milliseconds, as it is stored.
    paused_at = clock.from_ms(clock.to_ms(now))
    return {"is_enabled": False, "next_run_at": None, "paused_at": paused_at, "paused_by": by, "paused_reason": reason}


def _timed(schedule: Schedule, now: datetime, trigger: Any) -> Schedule:
    """Set the first slot that fires after a moment."""
    return schedule.model_copy(update={"next_run_at": next_due(schedule, trigger, now)})


def _as_stored(new: NewSchedule) -> NewSchedule:
    """Give times in UTC and in whole milliseconds, so that what is answered is what is read again."""
    moments = {name: getattr(new, name) for name in ("run_at", "starts_at", "ends_at")}
    return replace(new, **{name: moment and clock.from_ms(clock.to_ms(moment)) for name, moment in moments.items()})


def _as_new(schedule: Schedule) -> NewSchedule:
    fields: dict[str, Any] = {name: getattr(schedule, name) for name in NewSchedule.__dataclass_fields__}
    fields["cron"] = schedule.cron or None
    return NewSchedule(**fields)


def _changed(before: Schedule, changes: dict[str, Any]) -> NewSchedule:
    kinds = {"cron", "run_at", "interval_seconds"}
    given = {name for name in kinds & changes.keys() if changes[name] is not None}
    if given:
        # Another kind takes the place of the present one.
        changes = {name: None for name in kinds} | changes
    return replace(_as_new(before), **changes)


def _check_unchanged(before: Schedule, present: Schedule) -> None:
    if present.revision != before.revision:
        raise ConflictError(f"Schedule {present.id} was changed by somebody else at the same time; read it again.")


def pause_all(scheduling: Scheduling, user_id: str, *, reason: str) -> int:
    """Pause every schedule of a user; returns how many there were."""
    paused = 0
    while page := scheduling.list(user_id, is_enabled=True, limit=_PAGE).items:
        for schedule in page:
            scheduling.pause(user_id, schedule.id, by="the server", reason=reason)
        paused += len(page)
    return paused
