"""What is old goes, in bounded steps, and nothing that is still needed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autogpt_server.data import retention
from autogpt_server.data.database import Database
from autogpt_server.data.retention import prune
from autogpt_server.data.slots import Slots
from autogpt_server.model import clock
from autogpt_server.model.schedule import Slot, SlotOutcome
from tests.data.schedule_rows import make_schedule, store
from tests.faults.test_failing_statements import Surroundings


def count(database: Database, table: str) -> int:
    with database.read() as c:
        return c.execute(f'SELECT COUNT(*) FROM "{table}"').scalar_one()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a month pass."""
    monkeypatch.setattr(retention, "_BATCH", 2)
    monkeypatch.setattr(retention, "_ROWS", 1)
    moment = clock.now() + timedelta(days=30)
    monkeypatch.setattr(retention.clock, "now", lambda: moment)


def test_executions_that_ended_long_ago_go_with_what_was_recorded_of_them(
    database: Database, request: pytest.FixtureRequest
):
    s = Surroundings(database)
    s.record_ends()
    request.getfixturevalue("later")
    assert prune(database, executions_days=31, slots_days=None).executions == 0
    dry = prune(database, executions_days=29, slots_days=None, dry_run=True)
    assert (dry.executions, str(dry)) == (2, "2 executions and 0 slots would be deleted")
    assert count(database, "AgentGraphExecution") == 4
    assert prune(database, executions_days=29, slots_days=None).executions == 2
    # What waits stays, however old it is.
    assert count(database, "AgentGraphExecution") == 2
    assert count(database, "AgentNodeExecution") == count(database, "AgentNodeOutput") == 0
    assert prune(database, executions_days=29, slots_days=None).executions == 0


def test_slots_go_but_not_those_that_a_schedule_has_before_it(database: Database, request: pytest.FixtureRequest):
    now = clock.from_ms(clock.now_ms())
    coming = make_schedule("g", next_run_at=now - timedelta(days=2))
    past = make_schedule("g", next_run_at=now + timedelta(days=99))
    store(database, coming, past)
    slots = Slots(database)
    for schedule in (coming, past):
        for days in range(1, 6):
            at = now - timedelta(days=days)
            slots.claim(Slot(schedule_id=schedule.id, scheduled_at=at, outcome=SlotOutcome.FIRED, fired_at=now))
    request.getfixturevalue("later")
    assert prune(database, executions_days=None, slots_days=29, dry_run=True).slots == 8
    assert prune(database, executions_days=None, slots_days=29).slots == 8
    kept = slots.list(coming.id, limit=10).items
    assert [(now - slot.scheduled_at).days for slot in kept] == [1, 2]
