"""The part of the checker that reads schedules: what became of their due times, when they come next, their job rows.

Written from the rules, not from the scheduler.  Times are milliseconds since 1970.
"""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from autogpt_server.data.connection import Connection

#: A slot that is later was missed, and how long whoever found it in time may stand still before it says so.
_GRACE, _STANDSTILL = 10_000, 10_000
_EXECUTED, _MISSED = frozenset({"fired", "late"}), "nobody fired it in time"
_FUNCTION = "autogpt_server.scheduler.jobs:execute_graph"
#: Executions of a schedule that may not have ended at the same time, by overlap policy.
_UNFINISHED = {"skip": 1, "buffer_one": 2}
#: Policies under which one starts when the one before it has ended.
_ONE_BY_ONE = frozenset({"skip", "buffer_one", "cancel_running"})
_NEVER = 1 << 62


@dataclass(frozen=True)
class Times:
    """When a schedule comes: at one moment, or every so often."""

    first: int
    every: int | None = None

    def __contains__(self, moment: int) -> bool:
        return moment == self.first if self.every is None else (moment - self.first) % self.every == 0

    def after(self, moment: int) -> int | None:
        """Return the first of them after a moment."""
        if self.every is None:
            return self.first if self.first > moment else None
        return moment + self.every - (moment - self.first) % self.every

    def between(self, first: int, last: int) -> Iterator[int]:
        """Iterate over those of a range, both ends included."""
        moment = self.after(first - 1)
        while moment is not None and moment <= last:
            yield moment
            moment = self.after(moment)


@dataclass
class Span:
    """A time in which a schedule was enabled and came at the same times, as far as its owner knows.

    It began somewhere between two moments, before a request and after its answer, and so it ended.
    """

    times: Times
    asked: int
    answered: int
    leaving: int = _NEVER
    left: int = _NEVER
    #: By now what was due until then must have been decided.
    decided_until: int = 0

    def holds(self, slot: _Slot) -> bool:
        inside = self.asked <= slot.first and slot.last <= self.left
        return inside and slot.first in self.times and slot.last in self.times


@dataclass
class Known:
    """What the owner of a schedule knows of it."""

    id: str
    spans: list[Span] = field(default_factory=list[Span])
    is_deleted: bool = False


@dataclass(frozen=True)
class _Schedule:
    id: str
    is_enabled: bool
    next: int | None
    deleted: int | None
    run_at: int | None
    max_runs: int | None
    runs: int
    misfire: str
    overlap: str
    jitter: int
    graph_id: str
    misfire_limit: int


@dataclass(frozen=True)
class _Slot:
    schedule_id: str
    first: int
    last: int
    count: int | None
    outcome: str
    reason: str | None
    execution_id: str | None
    fired: int


@dataclass(frozen=True)
class _Run:
    """An execution of a schedule."""

    id: str
    schedule_id: str
    slot: int | None
    attempt: int
    created: int
    started: int | None
    ended: int | None


class ScheduleChecks:
    """Checks what one connection sees.

    Args:
        connection: To the database; nothing is written.
        known: What the owners of schedules know.  Others are held to what the database alone tells.
    """

    def __init__(self, connection: Connection, known: Collection[Known] = ()) -> None:
        self._c, self._known = connection, {one.id: one for one in known}
        self._schedules = self._read_schedules()
        self._slots = self._read_slots()
        self._runs = self._read_runs()
        self._jobs = self._read_jobs()

    def problems(self) -> Iterator[str]:
        """Name what is wrong."""
        yield from (f"schedule {id_}: was made and is lost" for id_ in self._known if id_ not in self._schedules)
        yield from (f"schedule {id_}: executions of no schedule" for id_ in self._runs if id_ not in self._schedules)
        for schedule in self._schedules.values():
            slots, runs = self._slots.get(schedule.id, []), self._runs.get(schedule.id, [])
            for check in (self._once, self._outcomes, self._end, self._next, self._overlap, self._told):
                yield from (f"schedule {schedule.id}: {problem}" for problem in check(schedule, slots, runs))
            yield from (f"schedule {schedule.id}: {problem}" for problem in self._job(schedule))
        for id_, (_, state) in self._jobs.items():
            if id_ not in self._schedules and state["func"] == _FUNCTION:
                yield f"job {id_}: a row of no schedule"

    def _once(self, schedule: _Schedule, slots: list[_Slot], runs: list[_Run]) -> Iterator[str]:
        """One execution for each slot that fired, one such slot for each execution, and no slot decided about twice."""
        of_slots = Counter((slot.first, slot.execution_id) for slot in slots if slot.outcome in _EXECUTED)
        of_runs = Counter((run.slot, run.id) for run in runs if run.slot is not None)
        yield from (f"slot {moment} fired without its execution {id_}" for moment, id_ in of_slots - of_runs)
        yield from (f"execution {id_} of slot {moment} is not that of the ledger" for moment, id_ in of_runs - of_slots)
        for before, slot in zip(slots, slots[1:], strict=False):
            if slot.first <= before.last:
                yield f"slot {slot.first} was decided about twice"
        if schedule.runs != of_slots.total():
            yield f"counts {schedule.runs} runs, {of_slots.total()} slots fired"
        if schedule.max_runs is not None and of_slots.total() > schedule.max_runs:
            yield f"fired {of_slots.total()} times, it may {schedule.max_runs} times"

    def _outcomes(self, schedule: _Schedule, slots: list[_Slot], _: list[_Run]) -> Iterator[str]:
        for following, slot in zip(range(len(slots) - 1, -1, -1), slots, strict=True):
            late = slot.fired - slot.last
            if slot.outcome == "fired" and not 0 <= slot.fired - slot.first <= schedule.jitter + _GRACE + _STANDSTILL:
                yield f"slot {slot.first} fired {slot.fired - slot.first} ms late, and says in time"
            if slot.outcome == "late" and (late <= _GRACE or schedule.misfire == "skip"):
                yield f"slot {slot.first} was made up for after {late} ms, with the policy {schedule.misfire}"
            if slot.outcome in _EXECUTED:
                continue
            if slot.reason is None or slot.execution_id is not None:
                yield f"slot {slot.first} did not fire, without a reason or with an execution"
            is_missed = slot.reason is not None and slot.reason.startswith(_MISSED)
            is_within = schedule.misfire == "all" and following < schedule.misfire_limit
            if is_missed and (late <= _GRACE or is_within):
                yield f"slot {slot.first} was skipped after {late} ms: {slot.reason}"

    def _end(self, schedule: _Schedule, slots: list[_Slot], runs: list[_Run]) -> Iterator[str]:
        if schedule.deleted is None:
            return
        if schedule.is_enabled or schedule.next is not None:
            yield "is deleted, and comes again"
        if any(slot.fired > schedule.deleted for slot in slots):
            yield "was decided about after it was deleted"
        if any(run.slot is not None and run.created > schedule.deleted for run in runs):
            yield "fired after it was deleted"

    def _next(self, schedule: _Schedule, slots: list[_Slot], _: list[_Run]) -> Iterator[str]:
        if schedule.deleted is not None:
            return
        if not schedule.is_enabled and schedule.next is not None:
            yield f"is paused, and comes at {schedule.next}"
        if schedule.next is not None and slots and schedule.next <= slots[-1].last:
            yield f"comes at {schedule.next}, and {slots[-1].last} was decided about already"
        if schedule.is_enabled and schedule.next is None:
            is_over = schedule.run_at is not None and any(slot.first == schedule.run_at for slot in slots)
            if not is_over and schedule.runs != schedule.max_runs:
                yield "is enabled, and never comes again"

    def _overlap(self, schedule: _Schedule, _: list[_Slot], runs: list[_Run]) -> Iterator[str]:
        runs = sorted((run for run in runs if run.slot is not None), key=lambda run: run.slot or 0)
        limit = _UNFINISHED.get(schedule.overlap)
        for number, run in enumerate(runs):
            open_still = [one for one in runs[:number] if one.ended is None or one.ended > run.created]
            if limit is not None and len(open_still) >= limit:
                yield f"execution {run.id} was accepted while {len(open_still)} had not ended"
        if schedule.overlap not in _ONE_BY_ONE:
            return
        for before, run in zip(runs, runs[1:], strict=False):
            # One that was rescued started when it started first.
            is_sure = before.attempt == 1 and before.ended is not None and run.started is not None
            if is_sure and (run.started or 0) < (before.ended or 0):
                yield f"execution {run.id} started before {before.id} had ended"

    def _told(self, schedule: _Schedule, slots: list[_Slot], _: list[_Run]) -> Iterator[str]:
        """What its owner did is what happened: nothing is decided while it is paused, nothing is left out before."""
        known = self._known.get(schedule.id)
        if known is None:
            return
        if (schedule.deleted is not None) != known.is_deleted:
            yield f"was {'' if known.is_deleted else 'not '}deleted by its owner"
        yield from _unasked(known, slots)
        for span in known.spans:
            # One that runs so many times only ends somewhere.
            decided_until = span.decided_until if schedule.max_runs is None else 0
            yield from _gaps(span, decided_until, [slot for slot in slots if span.holds(slot)])
        if schedule.next is not None and known.spans and known.spans[-1].left == _NEVER:
            yield from _untrue_next(schedule.next, known.spans[-1], slots)

    def _job(self, schedule: _Schedule) -> Iterator[str]:
        found = self._jobs.get(schedule.id)
        is_wanted = schedule.deleted is None and (schedule.next is not None or not schedule.is_enabled)
        if (found is not None) != is_wanted:
            yield f"has {'no' if found is None else 'a'} job row"
        if found is None or not is_wanted:
            return
        at, state = found
        if at is None or schedule.next is None:
            if (at is None) != (schedule.next is None):
                yield f"comes at {schedule.next}, its job row at {at}"
        elif not schedule.next <= at <= schedule.next + schedule.jitter:
            yield f"comes at {schedule.next}, its job row at {at}"
        inside = state["next_run_time"]
        # What is paused while it is fired keeps its pickle; APScheduler itself goes by the column.
        if at is not None and (inside is None or _ms(inside) != at):
            yield f"has a job row at {at} with a job at {inside}"
        if (state["id"], state["func"], state["kwargs"]["graph_id"]) != (schedule.id, _FUNCTION, schedule.graph_id):
            yield "has a job row with another job"

    def _read_schedules(self) -> dict[str, _Schedule]:
        rows = self._c.execute(
            'SELECT "id","isEnabled","nextRunAt","deletedAt","runAt","maxRuns","runs","misfirePolicy","overlapPolicy",'
            '"jitterSeconds","agentGraphId","misfireLimit" FROM "AgentExecutionSchedule"'
        )
        return {
            r[0]: _Schedule(r[0], bool(r[1]), _ms(r[2]), _ms(r[3]), _ms(r[4]), *r[5:9], r[9] * 1000, *r[10:])
            for r in rows
        }

    def _read_slots(self) -> dict[str, list[_Slot]]:
        found: dict[str, list[_Slot]] = defaultdict(list)
        for r in self._c.execute(
            'SELECT "scheduleId","scheduledAt",COALESCE("lastScheduledAt","scheduledAt"),"count","outcome","reason",'
            '"graphExecutionId","firedAt" FROM "AgentScheduleSlot" ORDER BY "scheduledAt"'
        ):
            found[r[0]].append(_Slot(r[0], _sure_ms(r[1]), _sure_ms(r[2]), *r[3:7], _sure_ms(r[7])))
        return dict(found)

    def _read_runs(self) -> dict[str, list[_Run]]:
        found: dict[str, list[_Run]] = defaultdict(list)
        for r in self._c.execute(
            'SELECT "id","scheduleId","scheduledAt","attempt","createdAt","startedAt","endedAt" '
            'FROM "AgentGraphExecution" WHERE "scheduleId" IS NOT NULL'
        ):
            found[r[1]].append(_Run(r[0], r[1], _ms(r[2]), r[3], _sure_ms(r[4]), _ms(r[5]), _ms(r[6])))
        return dict(found)

    def _read_jobs(self) -> dict[str, tuple[int | None, dict[str, Any]]]:
        rows = self._c.execute("SELECT id, next_run_time, job_state FROM apscheduler_jobs")
        return {r[0]: (None if r[1] is None else round(r[1] * 1000), pickle.loads(bytes(r[2]))) for r in rows}


def _unasked(known: Known, slots: list[_Slot]) -> Iterator[str]:
    for span, following in zip(known.spans, [*known.spans[1:], None], strict=True):
        until = _NEVER if following is None else following.asked
        for slot in slots:
            if span.left < slot.fired < until:
                yield f"slot {slot.first} was decided about at {slot.fired}, while it was paused or deleted"
    for slot in slots:
        holding = [span for span in known.spans if span.holds(slot)]
        if not holding:
            yield f"slots {slot.first} to {slot.last} are none of it"
        elif slot.count not in {None, *(len(list(one.times.between(slot.first, slot.last))) for one in holding)}:
            yield f"slots {slot.first} to {slot.last} are counted as {slot.count}"


def _gaps(span: Span, decided_until: int, slots: list[_Slot]) -> Iterator[str]:
    covered = {moment for slot in slots for moment in span.times.between(slot.first, slot.last)}
    until = min(max([decided_until, *covered]), span.leaving)
    for moment in span.times.between(span.answered + 1, until):
        if moment not in covered:
            yield f"nobody knows what became of slot {moment}"


def _untrue_next(next_: int, span: Span, slots: list[_Slot]) -> Iterator[str]:
    decided = [slot.last for slot in slots if slot.first >= span.asked and span.holds(slot)]
    if decided:
        earliest = latest = span.times.after(max(decided))
    else:
        earliest, latest = span.times.after(span.asked - 1), span.times.after(span.answered)
    if earliest is None or latest is None or not (next_ in span.times and earliest <= next_ <= latest):
        yield f"comes at {next_}, not between {earliest} and {latest}"


def _ms(value: int | datetime | None) -> int | None:
    """A time as either database gives it; naive ones are UTC."""
    if value is None or isinstance(value, int):
        return value
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _sure_ms(value: int | datetime | None) -> int:
    found = _ms(value)
    assert found is not None
    return found
