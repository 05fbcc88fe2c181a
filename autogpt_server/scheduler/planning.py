"""What is to become of the slots of a schedule that are due: fired, made up for, or skipped, and why.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from autogpt_server.data.firing_plans import Plan, planned
from autogpt_server.data.queue import inputs_text
from autogpt_server.model import clock
from autogpt_server.model.schedule import MisfirePolicy, Schedule, Slot, SlotOutcome
from autogpt_server.scheduler.exclusions import exclusion_of
from autogpt_server.scheduler.timetable import Timetable, due_at, latest_slots

#: Slots of one schedule that are counted one by one; of more, the latest are computed, and the rest is not counted.
MAX_COUNTED = 1000

MISSED = "nobody fired it in time"
SUPERSEDED = "nobody fired it in time, and a later one is due"
BEYOND_LIMIT = "nobody fired it in time, and more were missed than are made up for"


@dataclass(frozen=True, slots=True)
class _Due:
    #: By time; where ``uncounted`` is set, the latest ones only.
    slots: list[datetime]
    next: datetime | None
    #: The first of those that were too many to be counted, and the last one before ``slots``.
    uncounted: tuple[datetime, datetime] | None = None


def plan(
    schedule: Schedule, timetable: Timetable, now: datetime, grace: timedelta, after: datetime | None = None
) -> Plan | None:
    """Decide about everything of a schedule that is due.

    The work is bounded however long nobody has looked: after ten years of missed minutes as after one.

    Args:
        schedule: As it was read; its next slot is the first one to decide about.
        timetable: Of it.
        now: When this is.
        grace: Slots that are later than this were missed: the misfire policy decides about them.
        after: The last slot that is decided about already, where the schedule was not moved on after that.

    Returns:
        None where nothing is due; with ``after`` a plan in any case, as the schedule is still to be moved on.
    """
    due = _due(schedule, timetable, now, schedule.next_run_at if after is None else timetable.next_after(after))
    if not due.slots and after is None:
        return None
    slots = list(_merged(_outcomes(schedule, due, now, grace)))
    if due.uncounted is not None:
        first, last = due.uncounted
        # Only the first and the last of them are known.
        reason = f"nobody fired it in time; more than {MAX_COUNTED:,} were missed"
        slots.insert(0, _skipped(schedule, first, reason, last, None))
    return Plan(schedule, slots, due.next, inputs_text(schedule.execution_inputs), schedule.checked_version)


def _due(schedule: Schedule, timetable: Timetable, now: datetime, slot: datetime | None) -> _Due:
    found: list[datetime] = []
    while slot is not None and due_at(schedule, slot) <= now:
        found.append(slot)
        if len(found) > MAX_COUNTED:
            return _latest_due(schedule, timetable, found[0], now)
        slot = timetable.next_after(slot)
    return _Due(found, slot)


def _latest_due(schedule: Schedule, timetable: Timetable, first: datetime, now: datetime) -> _Due:
    count = schedule.misfire_limit if schedule.misfire_policy is MisfirePolicy.ALL else 1
    # One more: the last one that is not counted.
    before, *latest = latest_slots(timetable, first, now, min(count, MAX_COUNTED) + 1)
    waiting = [slot for slot in latest if due_at(schedule, slot) > now]
    latest = latest[: len(latest) - len(waiting)]
    return _Due(latest, waiting[0] if waiting else timetable.next_after(now), (first, before))


def _outcomes(schedule: Schedule, due: _Due, now: datetime, grace: timedelta) -> Iterable[Slot]:
    excluded = exclusion_of(schedule)
    missed = [slot for slot in due.slots if now - due_at(schedule, slot) > grace and excluded(slot) is None]
    kept, reason = _made_up_for(schedule, missed, is_all_missed=len(missed) == len(due.slots))
    # A later one that is in time makes up for the missed ones, too.
    in_time = set(due.slots) - set(missed)
    for slot in due.slots:
        why = excluded(slot)
        if why is not None:
            yield _skipped(schedule, slot, why)
        elif slot in in_time:
            yield planned(schedule, slot, is_late=False)
        elif slot in kept:
            yield planned(schedule, slot, is_late=True)
        else:
            yield _skipped(schedule, slot, reason)


def _made_up_for(schedule: Schedule, missed: list[datetime], *, is_all_missed: bool) -> tuple[set[datetime], str]:
    match schedule.misfire_policy:
        case MisfirePolicy.SKIP:
            return set(), MISSED
        case MisfirePolicy.LATEST:
            return set(missed[-1:]) if is_all_missed else set(), SUPERSEDED
        case MisfirePolicy.ALL:
            return set(missed[-schedule.misfire_limit :]), BEYOND_LIMIT


def _skipped(
    schedule: Schedule, slot: datetime, reason: str, last: datetime | None = None, count: int | None = 1
) -> Slot:
    return Slot.model_construct(
        schedule_id=schedule.id, scheduled_at=slot, outcome=SlotOutcome.SKIPPED, reason=reason, execution_id=None,
        last_scheduled_at=last, count=count, fired_at=clock.now(),
    )  # fmt: skip


def _merged(slots: Iterable[Slot]) -> Iterable[Slot]:
    """Make one row of skipped slots that follow each other for one reason."""
    run: Slot | None = None
    for slot in slots:
        if run is not None and slot.outcome is SlotOutcome.SKIPPED and slot.reason == run.reason:
            count = (run.count or 0) + 1
            run = run.model_copy(update={"last_scheduled_at": slot.scheduled_at, "count": count})
            continue
        if run is not None:
            yield run
            run = None
        if slot.outcome is SlotOutcome.SKIPPED:
            run = slot
        else:
            yield slot
    if run is not None:
        yield run
