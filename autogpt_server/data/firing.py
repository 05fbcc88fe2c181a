"""Firing schedules: slots and executions in one transaction, then, apart, when each fires next.

The first transaction (``fire``) may be repeated by anybody at any time: the keys of the slots let each lead to one
execution.  The second (``advance``) says that the first is done; never before it, so that a crash between the two
fires once more into the keys instead of losing a slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.ends import Ends
from autogpt_server.data.firing_plans import Plan, planned
from autogpt_server.data.firing_rules import FiringRules
from autogpt_server.data.firing_targets import Target, find_targets
from autogpt_server.data.job_tables import JobRow, remove_jobs, update_jobs
from autogpt_server.data.scheduled_executions import NO_LANE, ScheduledExecution, accept_scheduled, backfill_lane
from autogpt_server.data.slots import write_slots, written_until
from autogpt_server.errors import GraphNotFound
from autogpt_server.model import clock
from autogpt_server.model.schedule import Schedule, Slot
from autogpt_server.service.crash_points import crash_point

#: Schedules of one transaction at most.
MAX_BATCH = 500
#: Slots after which a transaction takes no more schedules: those of one may be a thousand, and others want to write.
MANY_SLOTS = 2000


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
        self._rules = FiringRules(database)

    def fire(self, plans: Sequence[Plan]) -> Fired:
        """Write the slots of up to ``MAX_BATCH`` schedules, and the executions of those that nobody wrote before."""
        fired, ends = Fired(), Ends()
        with self._db.write() as c:
            _use_indexes(self._db, c)
            held = self._leave_begun(c, self._hold(c, plans, fired), fired)
            targets = find_targets(self._db, c, [plan.schedule for plan in held])
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
            self._rules.pause_gone(c, gone)
            self._rules.apply(c, [plan for plan, _ in ready])
            won = write_slots(self._db, c, [slot for plan, _ in ready for slot in plan.slots])
            crash_point("slots.written")
            rows = [
                ScheduledExecution(plan.schedule, target, slot, plan.inputs)
                for plan, target in ready
                for slot in plan.slots
                if slot.execution_id and (slot.schedule_id, slot.scheduled_at) in won
            ]
            fired.stopped += self._rules.cancel_running(c, rows, ends)
            accept_scheduled(self._db, c, rows)
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
            accept_scheduled(
                self._db, c, [ScheduledExecution(schedule, target, slot, inputs, NO_LANE, is_of_slot=False)]
            )
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
        lane = backfill_lane(schedule.id, limit)
        with self._db.write() as c:
            made = accept_scheduled(
                self._db, c, [ScheduledExecution(schedule, target, slot, inputs, lane) for slot in slots]
            )
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
            found = find_targets(self._db, c, [schedule]).get(schedule.id)
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

    def _count_runs(self, c: Connection, rows: list[ScheduledExecution]) -> None:
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


def _use_indexes(db: Database, c: Connection) -> None:
    """Let a transaction find its few hundred rows by their keys.

    PostgreSQL otherwise reads a table of very many schedules from end to end for each statement, which it takes for
    cheaper; where its rows are in memory, as here, that is twenty times slower.
    """
    if db.provider == "postgresql":
        names = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
        c.execute("SELECT " + ",".join(f"set_config('{name}', 'off', true)" for name in names))


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else clock.to_ms(moment)
