"""Executing what a schedule would have run in the past: before it was made, or while it was paused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from autogpt_server.data.database import Database
from autogpt_server.data.firing import Firing
from autogpt_server.data.firing_plans import planned
from autogpt_server.data.firing_targets import Target
from autogpt_server.data.graph_versions import load_version
from autogpt_server.data.queue import inputs_text
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model import clock
from autogpt_server.model.graph import Graph
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.adopted import AdoptedTriggers
from autogpt_server.scheduler.exclusions import exclusion_of
from autogpt_server.scheduler.schedule_checks import check_execution, check_moment
from autogpt_server.scheduler.timetable import slots_between, timetable_of

#: Slots of one backfill.
MAX_SLOTS = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """A range of due times, both ends included; aware."""

    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a backfill of a range comes to."""

    #: Due times in the range.
    slots: int
    #: Those of them that have no execution.
    missing: list[datetime]
    first: datetime | None
    last: datetime | None


class Backfills:
    """Previews and accepts backfills.  Blocking: call in a thread from a loop."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._schedules, self._firing = Schedules(database, lambda ids: None), Firing(database)
        self._triggers = AdoptedTriggers(database)

    def preview(self, user_id: str, schedule_id: str, wanted: Range) -> Backfill:
        """Tell what a backfill would execute.

        Raises:
            ScheduleNotFound: Unknown, or another user's.
            InvalidError: The range is none of the past, or holds too many slots.
        """
        schedule = self._schedules.get(user_id, schedule_id)
        _check_range(wanted)
        # Its bounds are about firing by itself.
        unbounded = schedule.model_copy(update={"starts_at": None, "ends_at": None})
        if schedule.interval_seconds is not None:
            unbounded = schedule
        timetable = timetable_of(unbounded, self._triggers.of(schedule))
        slots = list(islice(slots_between(timetable, wanted.first, wanted.last), MAX_SLOTS + 1))
        if len(slots) > MAX_SLOTS:
            problem = Problem("to", f"the range holds more than {MAX_SLOTS:,} runs", "backfill it in several parts")
            raise InvalidError("The backfill was refused.", [problem])
        # On excluded days it would not have run.
        excluded = exclusion_of(schedule)
        slots = [slot for slot in slots if excluded(slot) is None]
        has_one = self._firing.have_executions(schedule_id, wanted.first, wanted.last)
        missing = [slot for slot in slots if slot not in has_one]
        return Backfill(len(slots), missing, slots[0] if slots else None, slots[-1] if slots else None)

    def run(self, user_id: str, schedule_id: str, wanted: Range, max_concurrent: int) -> list[str]:
        """Accept executions for the slots of a range that have none; returns their ids, by slot.

        Args:
            user_id: Who wants it.
            schedule_id: Of the schedule.
            wanted: The range.
            max_concurrent: How many of them run at the same time, unless the graph has a limit of its own.

        Raises:
            ScheduleNotFound, InvalidError: As ``preview``; also where the inputs do not fit the graph.
            GraphNotFound: The graph is gone.
        """
        missing = self.preview(user_id, schedule_id, wanted).missing
        schedule = self._schedules.get(user_id, schedule_id)
        target, _ = checked_target(self._db, self._firing, schedule)
        if not missing:
            return []
        slots = [planned(schedule, slot, is_late=True, reason="backfill") for slot in missing]
        return self._firing.backfill(schedule, target, inputs_text(schedule.execution_inputs), slots, max_concurrent)


def checked_target(database: Database, firing: Firing, schedule: Schedule) -> tuple[Target, Graph]:
    """Tell what a schedule executes now, with that version of the graph, and check that its inputs fit it.

    Raises:
        GraphNotFound: Its graph is gone.
        InvalidError: They do not.
    """
    target = firing.target(schedule)
    graph = load_version(database, schedule.graph_id, target.version)
    check_execution(graph, schedule.inputs, schedule.credentials)
    return target, graph


def _check_range(wanted: Range) -> None:
    problems = [*check_moment("from", wanted.first), *check_moment("to", wanted.last)]
    if wanted.last < wanted.first:
        problems.append(Problem("to", "lies before `from`", "exchange the two"))
    if wanted.last > clock.now():
        problems.append(Problem("to", "lies in the future", "those runs come by themselves; end the range now"))
    if problems:
        raise InvalidError("The backfill was refused.", problems)
