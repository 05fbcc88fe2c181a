"""Makes schedules for tests, and reads what became of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.data.firing_plans import Plan, planned
from autogpt_server.data.job_tables import JobRow
from autogpt_server.data.schedules import Schedules
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.schedule import Schedule
from tests.make_graph import make_graph, store_graph

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def stored_graph(database: Database) -> str:
    """Store a graph of one node, and return its id."""
    registry = load_registry()
    graph = make_graph(registry, {"a": ("ValueBlock", {"input": 1})})
    store_graph(database, registry, graph)
    return graph.id


def make_schedule(graph_id: str, **more: Any) -> Schedule:
    fields: dict[str, Any] = {
        "id": new_id(), "graph_id": graph_id, "graph_version": 1, "checked_version": 1, "user_id": DEFAULT_USER_ID,
        "name": "noon", "cron": "0 12 * * *", "next_run_at": NOON, "created_at": NOON, "updated_at": NOON,
    }  # fmt: skip
    return Schedule(**fields | more)


def job_of(schedule: Schedule) -> JobRow:
    return JobRow(schedule.id, schedule.next_run_at, b"pickled " + schedule.id.encode())


def store(database: Database, *schedules: Schedule) -> None:
    for schedule in schedules:
        Schedules(database, lambda ids: None).create(schedule, job_of(schedule))


def plan_for(schedule: Schedule, *more: datetime, next_run_at: datetime | None = None) -> Plan:
    """Plan to fire the next slot of a schedule, and others."""
    assert schedule.next_run_at is not None
    slots = [planned(schedule, moment, is_late=False) for moment in (schedule.next_run_at, *more)]
    return Plan(schedule, slots, next_run_at, "{}", 1)


def ledger(database: Database) -> list[tuple[Any, ...]]:
    with database.read() as c:
        return c.execute(
            'SELECT "outcome","reason","graphExecutionId" IS NOT NULL FROM "AgentScheduleSlot" ORDER BY "scheduledAt"'
        ).all()


def executions(database: Database) -> list[tuple[Any, ...]]:
    with database.read() as c:
        return c.execute(
            'SELECT "scheduleId","status","lane","laneLimit" FROM "AgentGraphExecution" ORDER BY "scheduledAt"'
        ).all()
