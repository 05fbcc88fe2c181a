"""The rules that keep a due slot from firing, or that stop what runs: overlap, failures, the number of runs."""

from __future__ import annotations

from datetime import datetime

from autogpt_server.data.connection import Connection
from autogpt_server.data.controls import Controls
from autogpt_server.data.database import Database
from autogpt_server.data.ends import Ends
from autogpt_server.data.firing_plans import Plan
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.data.scheduled_executions import ScheduledExecution
from autogpt_server.data.slots import write_slots
from autogpt_server.model import clock
from autogpt_server.model.notification import NotificationType
from autogpt_server.model.schedule import OverlapPolicy, Schedule, SlotOutcome

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
_UNFINISHED = "('INCOMPLETE','QUEUED','RUNNING','PAUSED')"


class FiringRules:
    """Applied within the transaction that fires."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._controls = Controls(database)

    def apply(self, c: Connection, plans: list[Plan]) -> None:
        """Turn slots into skipped ones where overlap, failures or the number of runs say so."""
        for plan in plans:
            limit = plan.schedule.max_runs
            if limit is not None:
                plan.keep_first(limit - plan.schedule.runs, f"it has run {limit} times, which is all it may")
        careful = [plan for plan in plans if plan.schedule.overlap_policy is not OverlapPolicy.ALLOW]
        open_now = self._unfinished(c, [plan.schedule.id for plan in careful])
        for plan in careful:
            waiting, running = open_now.get(plan.schedule.id, (0, 0))
            match plan.schedule.overlap_policy:
                case OverlapPolicy.SKIP:
                    plan.keep_first(0 if waiting or running else 1, "an execution of it has not ended")
                case OverlapPolicy.BUFFER_ONE:
                    room = (0 if waiting else 1) if running else max(0, 2 - waiting)
                    plan.keep_first(room, "one of its executions waits already")
                case _:
                    plan.keep_last("a later one is due as well")
        for plan in plans:
            limit, firing = plan.schedule.max_runs, sum(slot.execution_id is not None for slot in plan.slots)
            if limit is not None and plan.schedule.runs + firing >= limit:
                plan.next_run_at = None
            failures = plan.schedule.pause_after_failures
            if failures is not None and self._failed_in_a_row(c, plan.schedule, failures):
                reason = f"its last {failures} executions failed"
                plan.refuse(SlotOutcome.SKIPPED, reason)
                self._pause(c, plan.schedule, reason, clock.now())

    def pause_gone(self, c: Connection, plans: list[Plan]) -> None:
        """Pause schedules whose graph is gone, and say so in the ledger."""
        if not plans:
            return
        now = clock.now()
        for plan in plans:
            reason = f"graph {plan.schedule.graph_id} is gone"
            plan.refuse(SlotOutcome.FAILED, reason)
            self._pause(c, plan.schedule, reason, now)
        write_slots(self._db, c, [slot for plan in plans for slot in plan.slots])

    def cancel_running(self, c: Connection, rows: list[ScheduledExecution], ends: Ends) -> list[str]:
        """Ask what runs of schedules that cancel to stop; returns the ids of what was asked."""
        stopped: list[str] = []
        for one in rows:
            if one.schedule.overlap_policy is not OverlapPolicy.CANCEL_RUNNING:
                continue
            latest = _LATEST.format(schedule="?")
            text = f'SELECT "id" FROM ({latest}) AS x WHERE "status" IN {_UNFINISHED} ORDER BY "id"'
            for id_ in c.execute(self._db.sql(text), (one.schedule.id, one.schedule.id)).scalars():
                stopped += self._controls.stop_within(c, id_, ends)
        return stopped

    def _pause(self, c: Connection, schedule: Schedule, reason: str, now: datetime) -> None:
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
        data = {"schedule_id": schedule.id, "name": schedule.name, "graph_id": schedule.graph_id, "reason": reason}
        key = f"{schedule.id} {schedule.revision}"
        queue_notifications(self._db, c, [News(schedule.user_id, NotificationType.SCHEDULE_PAUSED, key, data)], now)

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
