"""Firing schedules: slots and executions in one transaction, then, apart, when each fires next.

The first transaction (``fire``) may be repeated by anybody at any time: the keys of the slots let each lead to one
execution.  The second (``advance``) says that the first is done; never before it, so that a crash between the two
fires once more into the keys instead of losing a slot.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.controls import Controls
from autogpt_server.data.database import Database
from autogpt_server.data.ends import Ends
from autogpt_server.data.job_tables import JobRow, remove_jobs, update_jobs
from autogpt_server.data.slots import write_slots, written_until
from autogpt_server.errors import GraphNotFound
from autogpt_server.model import clock
from autogpt_server.model.ids import new_id
from autogpt_server.model.jsonvalue import loads
from autogpt_server.model.policy import GraphPolicy
from autogpt_server.model.schedule import OverlapPolicy, Schedule, Slot, SlotOutcome
from autogpt_server.model.turns import ORDINARY, lane_of
from autogpt_server.service.crash_points import crash_point

log = logging.getLogger(__name__)

#: Schedules of one transaction at most.
MAX_BATCH = 500
#: Slots after which a transaction takes no more schedules: those of one may be a thousand, and others want to write.
MANY_SLOTS = 2000
#: Executions of a schedule, the latest ones, among which one that has not ended is looked for: of its slots, and of
#: those that somebody started beside them.
_LOOK_BACK = 100
_LATEST = f"""
SELECT "id","status" FROM (SELECT "id","status" FROM "AgentGraphExecution" WHERE "scheduleId" = {{schedule}}
 AND "scheduledAt" IS NOT NULL ORDER BY "scheduledAt" DESC LIMIT {_LOOK_BACK}) AS of_slots
UNION ALL
SELECT "id","status" FROM (SELECT "id","status" FROM "AgentGraphExecution" WHERE "scheduleId" = {{schedule}}
 AND "scheduledAt" IS NULL ORDER BY "id" DESC LIMIT {_LOOK_BACK}) AS beside_them
"""
#: Begins the lanes in which executions of a schedule wait for each other.
_LANE = "schedule:"
#: The same for those of a backfill.
_BACKFILL_LANE = "backfill:"
_NO_LANE = (ORDINARY, 0)
_UNFINISHED = "('INCOMPLETE','QUEUED','RUNNING','PAUSED')"


@dataclass(slots=True)
class Plan:
    """What is to become of the due slots of a schedule, as it was read at some revision."""

    schedule: Schedule
    #: By time; those that fire have an execution's id.
    slots: list[Slot]
    #: The slot after these; None where none comes.
    next_run_at: datetime | None
    #: Its inputs as they are stored.
    inputs: str
    #: The version that the inputs were checked against; None where they fit no version at all.
    checked_version: int | None

    @property
    def is_of_several(self) -> bool:
        """Whether it decides about more than one slot."""
        return len(self.slots) > 1 or self.slots[0].last_scheduled_at is not None

    @property
    def last_slot_at(self) -> datetime:
        return self.slots[-1].last_scheduled_at or self.slots[-1].scheduled_at


class Target(NamedTuple):
    """What a schedule executes now."""

    version: int
    policy: GraphPolicy


@dataclass(slots=True)
class Fired:
    """What one transaction did."""

    #: Executions that were accepted, by slot.
    executions: list[tuple[Slot, str]] = field(default_factory=list[tuple[Slot, str]])
    #: Plans that are done: ``advance`` may follow.
    done: list[Plan] = field(default_factory=list[Plan])
    #: Plans whose inputs were not checked against the version beside them; nothing was done about these.
    unchecked: list[tuple[Plan, int]] = field(default_factory=list[tuple[Plan, int]])
    #: Plans whose first slots somebody wrote who died before the second transaction, and the last of these.  They are
    #: to be planned again from there on; nothing was done about them.
    begun: list[tuple[Plan, datetime]] = field(default_factory=list[tuple[Plan, datetime]])
    #: Ids of schedules that are not any more as they were when they were planned; they are to be read again.
    changed: list[str] = field(default_factory=list[str])
    #: Executions that were asked to stop.
    stopped: list[str] = field(default_factory=list[str])


class Firing:
    """The two transactions.  Blocking; for any thread."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._controls = Controls(database)

    def fire(self, plans: Sequence[Plan]) -> Fired:
        """Write the slots of up to ``MAX_BATCH`` schedules, and the executions of those that nobody wrote before."""
        fired, ends = Fired(), Ends()
        with self._db.write() as c:
            _use_indexes(self._db, c)
            held = self._leave_begun(c, self._hold(c, plans, fired), fired)
            targets = _targets(self._db, c, [plan.schedule for plan in held])
            ready: list[tuple[Plan, Target]] = []
            gone: list[Plan] = []
            for plan in held:
                target = targets.get(plan.schedule.id)
                if target is None:
                    gone.append(plan)
                elif plan.checked_version is not None and target.version != plan.checked_version:
                    fired.unchecked.append((plan, target.version))
                else:
                    ready.append((plan, target))
            self._pause_gone(c, gone)
            self._apply_rules(c, [plan for plan, _ in ready])
            won = write_slots(self._db, c, [slot for plan, _ in ready for slot in plan.slots])
            crash_point("slots.written")
            rows = [
                _Execution(plan.schedule, target, slot, plan.inputs)
                for plan, target in ready
                for slot in plan.slots
                if slot.execution_id and (slot.schedule_id, slot.scheduled_at) in won
            ]
            self._cancel_running(c, rows, fired, ends)
            _accept(self._db, c, rows)
            self._count_runs(c, rows)
            crash_point("slots.accepted")
        crash_point("slots.committed")
        ends.count()
        fired.executions += [(one.slot, one.slot.execution_id or "") for one in rows]
        fired.done += [plan for plan, _ in ready]
        fired.changed += [plan.schedule.id for plan in gone]
        return fired

    def advance(self, plans: Sequence[Plan], jobs: dict[str, JobRow | None]) -> None:
        """Write when schedules fire next, and their job rows with it, where nobody changed them since.

        Args:
            plans: What was fired.
            jobs: Their job rows by id; None for one that is to be removed.
        """
        with self._db.write() as c:
            _use_indexes(self._db, c)
            moved = self._move(c, plans)
            # Not put: a row that somebody removed stays removed until reconciling looks at it.
            update_jobs(self._db, c, [job for id_, job in jobs.items() if id_ in moved and job is not None])
            remove_jobs(self._db, c, [id_ for id_, job in jobs.items() if id_ in moved and job is None])
            crash_point("advance.written")
        crash_point("advance.committed")

    def run_now(self, schedule: Schedule, target: Target, inputs: str) -> str:
        """Accept an execution of a schedule beside its slots, and return its id."""
        slot = planned(schedule, clock.now(), is_late=False)
        with self._db.write() as c:
            _accept(self._db, c, [_Execution(schedule, target, slot, inputs, _NO_LANE, is_of_slot=False)])
        return slot.execution_id or ""

    def backfill(self, schedule: Schedule, target: Target, inputs: str, slots: Sequence[Slot], limit: int) -> list[str]:
        """Accept executions for slots of the past that have none; returns their ids.

        Args:
            schedule: Whose.
            target: What is executed.
            inputs: As they are stored.
            slots: With an execution's id each.
            limit: How many of them may run at the same time.
        """
        lane = (f"{_BACKFILL_LANE}{schedule.id}", limit)
        with self._db.write() as c:
            made = _accept(self._db, c, [_Execution(schedule, target, slot, inputs, lane) for slot in slots])
            done = [slot for slot in slots if slot.execution_id in made]
            new = write_slots(self._db, c, done)
            # Those that were skipped, or that stand in the ledger for others as well, tell of their execution now.
            text = """
UPDATE "AgentScheduleSlot" SET "outcome" = ?, "reason" = ?, "graphExecutionId" = ?, "firedAt" = ?
WHERE "scheduleId" = ? AND "scheduledAt" = ? AND "count" = 1
"""
            old = [slot for slot in done if (slot.schedule_id, slot.scheduled_at) not in new]
            if old:
                c.execute(self._db.sql(text), [self._corrected(slot) for slot in old])
        return [slot.execution_id for slot in done if slot.execution_id]

    def _corrected(self, slot: Slot) -> tuple[Any, ...]:
        moments = (self._db.to_column(slot.fired_at), slot.schedule_id, self._db.to_column(slot.scheduled_at))
        return (slot.outcome.value, slot.reason, slot.execution_id, *moments)

    def have_executions(self, schedule_id: str, first: datetime, last: datetime) -> set[datetime]:
        """Tell which due times of a range, both ends included, have an execution."""
        text = """
SELECT "scheduledAt" FROM "AgentGraphExecution" WHERE "scheduleId" = ? AND "scheduledAt" >= ? AND "scheduledAt" <= ?
"""
        values = (schedule_id, self._db.to_column(first), self._db.to_column(last))
        with self._db.read() as c:
            found = c.execute(self._db.sql(text), values).scalars()
        return {moment for value in found if (moment := self._db.from_column(value)) is not None}

    def target(self, schedule: Schedule) -> Target:
        """Tell what a schedule executes now.

        Raises:
            GraphNotFound: Its graph is gone.
        """
        with self._db.read() as c:
            found = _targets(self._db, c, [schedule]).get(schedule.id)
        if found is None:
            raise GraphNotFound(schedule.graph_id, schedule.graph_version)
        return found

    def _hold(self, c: Connection, plans: Sequence[Plan], fired: Fired) -> list[Plan]:
        """Lock the schedules that are still as they were planned; whoever holds one already fires it."""
        by_id = {plan.schedule.id: plan for plan in plans}
        lock = " FOR UPDATE SKIP LOCKED" if self._db.provider == "postgresql" else ""
        text = f"""
SELECT "id","revision","nextRunAt","runs" FROM "AgentExecutionSchedule"
WHERE "id" {self._db.among} AND "deletedAt" IS NULL{lock}
"""
        held: list[Plan] = []
        for id_, revision, next_run_at, runs in c.execute(self._db.sql(text), (self._db.to_list(list(by_id)),)):
            plan = by_id[id_]
            known = plan.schedule
            if (revision, self._db.from_column(next_run_at)) == (known.revision, known.next_run_at):
                plan.schedule = known.model_copy(update={"runs": runs}) if runs != known.runs else known
                held.append(plan)
        fired.changed += list(by_id.keys() - {plan.schedule.id for plan in held})
        return held

    def _leave_begun(self, c: Connection, held: list[Plan], fired: Fired) -> list[Plan]:
        """Leave out plans that begin with what is written already.

        A single slot need not be asked about: its key answers, unless slots are counted.  Several would be put
        together in other rows than they were the first time, of which the keys let only some in.
        """
        unsure = [plan for plan in held if plan.slots and (plan.is_of_several or plan.schedule.max_runs is not None)]
        ranges = ((plan.schedule.id, plan.slots[0].scheduled_at, plan.last_slot_at) for plan in unsure)
        until = written_until(self._db, c, ranges)
        fired.begun += [(plan, until[plan.schedule.id]) for plan in held if plan.schedule.id in until]
        return [plan for plan in held if plan.schedule.id not in until]

    def _pause_gone(self, c: Connection, plans: list[Plan]) -> None:
        """Pause schedules whose graph is gone, and say so in the ledger."""
        if not plans:
            return
        now = clock.now()
        for plan in plans:
            reason = f"graph {plan.schedule.graph_id} is gone"
            plan.slots = [_refused(slot, SlotOutcome.FAILED, reason) for slot in plan.slots]
            self.pause_within(c, plan.schedule, reason, now)
        write_slots(self._db, c, [slot for plan in plans for slot in plan.slots])

    def pause_within(self, c: Connection, schedule: Schedule, reason: str, now: datetime) -> None:
        """Pause a schedule inside a transaction; its job row stays, as that of a paused job."""
        moment = self._db.to_column(now)
        c.execute(
            self._db.sql(
                'UPDATE "AgentExecutionSchedule" SET "isEnabled" = ?, "nextRunAt" = NULL, "pausedAt" = ?, '
                '"pausedBy" = ?, "pausedReason" = ?, "lastUpdated" = ?, "revision" = "revision" + 1 WHERE "id" = ?'
            ),
            (False, moment, "scheduler", reason, moment, schedule.id),
        )
        c.execute(self._db.sql("UPDATE apscheduler_jobs SET next_run_time = NULL WHERE id = ?"), (schedule.id,))

    def _apply_rules(self, c: Connection, plans: list[Plan]) -> None:
        """Turn slots into skipped ones where overlap, failures or the number of runs say so."""
        for plan in plans:
            limit = plan.schedule.max_runs
            if limit is not None:
                _keep_first(plan, limit - plan.schedule.runs, f"it has run {limit} times, which is all it may")
        careful = [plan for plan in plans if plan.schedule.overlap_policy is not OverlapPolicy.ALLOW]
        open_now = self._unfinished(c, [plan.schedule.id for plan in careful])
        for plan in careful:
            waiting, running = open_now.get(plan.schedule.id, (0, 0))
            match plan.schedule.overlap_policy:
                case OverlapPolicy.SKIP:
                    _keep_first(plan, 0 if waiting or running else 1, "an execution of it has not ended")
                case OverlapPolicy.BUFFER_ONE:
                    room = (0 if waiting else 1) if running else max(0, 2 - waiting)
                    _keep_first(plan, room, "one of its executions waits already")
                case _:
                    _keep_last(plan, "a later one is due as well")
        for plan in plans:
            limit, firing = plan.schedule.max_runs, sum(slot.execution_id is not None for slot in plan.slots)
            if limit is not None and plan.schedule.runs + firing >= limit:
                plan.next_run_at = None
            failures = plan.schedule.pause_after_failures
            if failures is not None and self._failed_in_a_row(c, plan.schedule, failures):
                reason = f"its last {failures} executions failed"
                plan.slots = [_refused(slot, SlotOutcome.SKIPPED, reason) for slot in plan.slots]
                self.pause_within(c, plan.schedule, reason, clock.now())

    def _unfinished(self, c: Connection, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Count what waits and what runs of each schedule."""
        if not ids:
            return {}
        each = "json_each(?)" if self._db.provider == "sqlite" else "unnest(?::text[])"
        column = "value" if self._db.provider == "sqlite" else "s"
        latest = _LATEST.format(schedule=f"s.{column}")
        text = f"""
SELECT s.{column},
 (SELECT COUNT(*) FROM ({latest}) AS w WHERE "status" IN ('INCOMPLETE','QUEUED')),
 (SELECT COUNT(*) FROM ({latest}) AS r WHERE "status" IN ('RUNNING','PAUSED'))
FROM {each} AS s{"" if self._db.provider == "sqlite" else "(s)"}
"""
        return {row[0]: (row[1], row[2]) for row in c.execute(self._db.sql(text), (self._db.to_list(ids),))}

    def _failed_in_a_row(self, c: Connection, schedule: Schedule, count: int) -> bool:
        # Only since it was last changed: who resumes it wants to see it try again.
        text = """
SELECT "status" FROM "AgentGraphExecution" WHERE "scheduleId" = ? AND "scheduledAt" IS NOT NULL AND "createdAt" >= ?
AND "status" IN ('COMPLETED','FAILED','TERMINATED') ORDER BY "scheduledAt" DESC LIMIT ?
"""
        values = (schedule.id, self._db.to_column(schedule.updated_at), count)
        statuses = c.execute(self._db.sql(text), values).scalars()
        return len(statuses) == count and set(statuses) == {"FAILED"}

    def _cancel_running(self, c: Connection, rows: list[_Execution], fired: Fired, ends: Ends) -> None:
        for one in rows:
            if one.schedule.overlap_policy is not OverlapPolicy.CANCEL_RUNNING:
                continue
            latest = _LATEST.format(schedule="?")
            text = f'SELECT "id" FROM ({latest}) AS x WHERE "status" IN {_UNFINISHED} ORDER BY "id"'
            for id_ in c.execute(self._db.sql(text), (one.schedule.id, one.schedule.id)).scalars():
                fired.stopped += self._controls.stop_within(c, id_, ends)

    def _count_runs(self, c: Connection, rows: list[_Execution]) -> None:
        counts: dict[str, int] = {}
        for one in rows:
            counts[one.schedule.id] = counts.get(one.schedule.id, 0) + 1
        if self._db.provider == "postgresql":
            text = """
UPDATE "AgentExecutionSchedule" s SET "runs" = "runs" + x.n FROM unnest(?::text[], ?::int[]) AS x (i, n)
WHERE s."id" = x.i
"""
            c.execute(self._db.sql(text), ([*counts.keys()], [*counts.values()]))
        elif counts:
            text = 'UPDATE "AgentExecutionSchedule" SET "runs" = "runs" + ? WHERE "id" = ?'
            c.execute(text, [(count, id_) for id_, count in counts.items()])

    def _move(self, c: Connection, plans: Sequence[Plan]) -> set[str]:
        db = self._db
        if db.provider == "postgresql":
            text = """
UPDATE "AgentExecutionSchedule" s SET "nextRunAt" = TIMESTAMP 'epoch' + x.n * INTERVAL '1 millisecond',
"checkedVersion" = COALESCE(x.v, s."checkedVersion")
FROM json_to_recordset(?::json) AS x (i text, n bigint, o bigint, r int, v int)
WHERE s."id" = x.i AND s."revision" = x.r AND s."nextRunAt" = TIMESTAMP 'epoch' + x.o * INTERVAL '1 millisecond'
RETURNING s."id"
"""
            rows = [(p.schedule.id, _ms(p.next_run_at), _ms(p.schedule.next_run_at), p.schedule.revision,
                     p.checked_version) for p in plans]  # fmt: skip
            return set(c.execute(db.sql(text), (db.to_recordset("inorv", rows),)).scalars())
        text = """
UPDATE "AgentExecutionSchedule" SET "nextRunAt" = ?, "checkedVersion" = COALESCE(?, "checkedVersion")
WHERE "id" = ? AND "revision" = ? AND "nextRunAt" = ?
"""
        return {
            plan.schedule.id
            for plan in plans
            if c.execute(
                text,
                (
                    _ms(plan.next_run_at),
                    plan.checked_version,
                    plan.schedule.id,
                    plan.schedule.revision,
                    _ms(plan.schedule.next_run_at),
                ),
            ).rowcount
        }


class _Execution(NamedTuple):
    schedule: Schedule
    target: Target
    slot: Slot
    inputs: str
    #: Where it waits; None for where the schedule's policy says.
    lane: tuple[str, int] | None = None
    is_of_slot: bool = True


def _targets(db: Database, c: Connection, schedules: Iterable[Schedule]) -> dict[str, Target]:
    """Tell what each schedule executes now, by its id; those whose graph is gone are left out."""
    wanted = {(s.graph_id, s.graph_version, s.user_id) for s in schedules}
    found = _find_each(db, c, wanted) if db.provider == "sqlite" else _find_many(db, c, wanted)
    return {s.id: target for s in schedules if (target := found.get((s.graph_id, s.graph_version, s.user_id)))}


def _use_indexes(db: Database, c: Connection) -> None:
    """Let a transaction find its few hundred rows by their keys.

    PostgreSQL otherwise reads a table of very many schedules from end to end for each statement, which it takes for
    cheaper; where its rows are in memory, as here, that is twenty times slower.
    """
    if db.provider == "postgresql":
        names = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
        c.execute("SELECT " + ",".join(f"set_config('{name}', 'off', true)" for name in names))


_Wanted = tuple[str, int | None, str]


def _find_each(db: Database, c: Connection, wanted: set[_Wanted]) -> dict[_Wanted, Target]:
    found: dict[_Wanted, Target] = {}
    for one in wanted:
        graph_id, version, user_id = one
        which = '"isActive" = ?' if version is None else '"version" = ?'
        text = f"""
SELECT "version","policy" FROM "AgentGraph" WHERE "id" = ? AND "userId" = ? AND "deletedAt" IS NULL AND {which}
"""
        row = c.execute(text, (graph_id, user_id, True if version is None else version)).first()
        if row is not None:
            found[one] = _target(row)
    return found


def _find_many(db: Database, c: Connection, wanted: set[_Wanted]) -> dict[_Wanted, Target]:
    text = """
SELECT x.g, x.v, x.u, a."version", a."policy" FROM json_to_recordset(?::json) AS x (g text, v int, u text)
JOIN "AgentGraph" a ON a."id" = x.g AND a."userId" = x.u AND a."deletedAt" IS NULL
AND (a."version" = x.v OR (x.v IS NULL AND a."isActive"))
"""
    rows = c.execute(db.sql(text), (db.to_recordset("gvu", wanted),))
    return {(row[0], row[1], row[2]): _target(row[3:]) for row in rows}


def _target(row: Row) -> Target:
    return Target(row[0], GraphPolicy() if row[1] == "{}" else GraphPolicy.model_validate(loads(row[1])))


def _accept(db: Database, c: Connection, rows: list[_Execution]) -> set[str]:
    """Store executions as QUEUED, and return the ids of those whose slot had none."""
    if not rows:
        return set()
    now = clock.now()
    values = [_values(one, now) for one in rows]
    if db.provider == "postgresql":
        text = """
INSERT INTO "AgentGraphExecution" ("id","agentGraphId","agentGraphVersion","userId","inputs","lane","laneLimit",
"scheduleId","scheduledAt","createdAt","status","revision")
SELECT i, g, v, u, n, l, k, s, TIMESTAMP 'epoch' + a * INTERVAL '1 millisecond',
       TIMESTAMP 'epoch' + c * INTERVAL '1 millisecond', 'QUEUED', 1
FROM json_to_recordset(?::json)
AS rows (i text, g text, v int, u text, n text, l text, k int, s text, a bigint, c bigint)
ON CONFLICT ("scheduleId","scheduledAt") DO NOTHING RETURNING "id"
"""
        return set(c.execute(db.sql(text), (db.to_recordset("igvunlksac", values),)).scalars())
    text = """
INSERT INTO "AgentGraphExecution" ("id","agentGraphId","agentGraphVersion","userId","inputs","lane","laneLimit",
"scheduleId","scheduledAt","createdAt","status","revision") VALUES (?,?,?,?,?,?,?,?,?,?,'QUEUED',1)
ON CONFLICT ("scheduleId","scheduledAt") DO NOTHING
"""
    before = _changes(c)
    c.execute(text, values)
    if _changes(c) - before == len(rows):
        return {one.slot.execution_id or "" for one in rows}
    ids = [one.slot.execution_id or "" for one in rows]
    return set(c.execute(f'SELECT "id" FROM "AgentGraphExecution" WHERE "id" {db.among}', (db.to_list(ids),)).scalars())


def _changes(c: Connection) -> int:
    """Count the rows that this connection to SQLite has changed so far."""
    return c.execute("SELECT total_changes()").scalar_one()


def _values(one: _Execution, now: datetime) -> tuple[Any, ...]:
    s = one.schedule
    limit = one.target.policy.max_concurrent_executions
    lane, lane_limit = lane_of(s.graph_id, limit, 0)
    if limit is None and one.lane is not None:
        lane, lane_limit = one.lane
    elif limit is None and s.overlap_policy in (OverlapPolicy.BUFFER_ONE, OverlapPolicy.CANCEL_RUNNING):
        lane, lane_limit = f"{_LANE}{s.id}", 1
    slot = clock.to_ms(one.slot.scheduled_at) if one.is_of_slot else None
    return (
        one.slot.execution_id, s.graph_id, one.target.version, s.user_id, one.inputs, lane, lane_limit, s.id, slot,
        clock.to_ms(now),
    )  # fmt: skip


def planned(schedule: Schedule, scheduled_at: datetime, *, is_late: bool, reason: str | None = None) -> Slot:
    """Make a slot that fires now."""
    outcome = SlotOutcome.LATE if is_late else SlotOutcome.FIRED
    return Slot.model_construct(
        schedule_id=schedule.id, scheduled_at=scheduled_at, outcome=outcome, reason=reason, execution_id=new_id(),
        last_scheduled_at=None, count=1, fired_at=clock.now(),
    )  # fmt: skip


def _refused(slot: Slot, outcome: SlotOutcome, reason: str) -> Slot:
    """Make of a slot that was to fire one that does not."""
    if slot.execution_id is None:
        return slot
    return slot.model_copy(update={"outcome": outcome, "reason": reason, "execution_id": None})


def _keep_first(plan: Plan, count: int, reason: str) -> None:
    """Let only so many slots of a plan fire."""
    kept: list[Slot] = []
    for slot in plan.slots:
        if slot.execution_id is not None and count <= 0:
            kept.append(_refused(slot, SlotOutcome.SKIPPED, reason))
        else:
            count -= slot.execution_id is not None
            kept.append(slot)
    plan.slots = kept


def _keep_last(plan: Plan, reason: str) -> None:
    firing = [slot for slot in plan.slots if slot.execution_id is not None]
    plan.slots = [
        slot if slot.execution_id is None or slot is firing[-1] else _refused(slot, SlotOutcome.SKIPPED, reason)
        for slot in plan.slots
    ]


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else clock.to_ms(moment)
