"""The reports of late executions, of blocks that fail and of schedules that fall behind; people are told once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autogpt_server.data.alerts import Alerts
from autogpt_server.data.block_counts import BlockCounts
from autogpt_server.data.database import Database
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.model import clock
from autogpt_server.model.alert import Alert, AlertKind, Finding
from autogpt_server.model.ids import DEFAULT_USER_ID, least_id, new_id
from autogpt_server.monitoring.block_errors import report_block_error_rates
from autogpt_server.monitoring.drift import NO_DRIFT, report_drift
from autogpt_server.monitoring.late_executions import NOTHING_LATE, report_late_executions
from autogpt_server.settings import Settings
from tests.data.schedule_rows import make_schedule, store, stored_graph

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Wall:
    """The wall clock of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "now_ms", lambda: clock.to_ms(self.now))

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wall]:
    return Wall(monkeypatch)


def alerts(database: Database, *, only_open: bool = True) -> list[Alert]:
    page = Alerts(database).list(DEFAULT_USER_ID, with_servers=True, only_open=only_open, limit=100)
    return page.items


def accept(database: Database, graph_id: str, count: int) -> list[str]:
    ids = [least_id(clock.now_ms()) + new_id()[13:] for _ in range(count)]
    batch = [NewExecution(id_, graph_id, 1, DEFAULT_USER_ID, "{}") for id_ in ids]
    with database.write() as c:
        ExecutionQueue(database).accept(c, [batch])
    return ids


def end_all(database: Database) -> None:
    with database.write() as c:
        c.execute("""UPDATE "AgentGraphExecution" SET "status" = 'COMPLETED'""")


def test_what_waits_for_too_long_is_reported_and_told_once_until_it_gets_worse(
    database: Database, settings: Settings, wall: Wall
):
    graph_id = stored_graph(database)
    assert report_late_executions(settings, database) == NOTHING_LATE

    (first,) = accept(database, graph_id, 1)
    wall.move(seconds=299)
    assert report_late_executions(settings, database) == NOTHING_LATE
    wall.move(seconds=2)
    report = report_late_executions(settings, database)
    assert report.startswith("1 late executions detected: of 1 users in the last 3,600 seconds")
    assert f"* execution {first}, graph {graph_id} v1, user {DEFAULT_USER_ID}, status QUEUED" in report
    (alert,) = alerts(database)
    assert (alert.kind, alert.user_id, alert.told_at) == (AlertKind.LATE_EXECUTIONS, DEFAULT_USER_ID, wall.now)

    # as bad as before
    wall.move(seconds=60)
    report_late_executions(settings, database)
    assert alerts(database)[0].told_at == alert.told_at
    assert alerts(database)[0].last_seen_at == wall.now

    # four times as many
    accept(database, graph_id, 3)
    wall.move(seconds=301)
    report_late_executions(settings, database)
    assert alerts(database)[0].told_at == wall.now

    # recovered, and late again
    end_all(database)
    assert report_late_executions(settings, database) == NOTHING_LATE
    assert alerts(database) == []
    assert [one.resolved_at for one in alerts(database, only_open=False)] == [wall.now]
    accept(database, graph_id, 1)
    wall.move(seconds=301)
    report_late_executions(settings, database)
    assert alerts(database)[0].told_at == wall.now


def test_what_lies_before_the_range_is_not_reported(database: Database, settings: Settings, wall: Wall):
    accept(database, stored_graph(database), 1)
    wall.move(seconds=3601)
    assert report_late_executions(settings, database) == NOTHING_LATE


def test_what_waits_on_beyond_the_range_has_not_recovered(database: Database, settings: Settings, wall: Wall):
    accept(database, stored_graph(database), 1)
    wall.move(seconds=301)
    report_late_executions(settings, database)
    (alert,) = alerts(database)
    wall.move(seconds=3600)
    assert report_late_executions(settings, database) == NOTHING_LATE
    assert [one.id for one in alerts(database)] == [alert.id]
    end_all(database)
    report_late_executions(settings, database)
    assert alerts(database) == []


def test_late_executions_become_a_notification_of_their_user(database: Database, settings: Settings, wall: Wall):
    accept(database, stored_graph(database), 1)
    wall.move(seconds=301)
    report_late_executions(settings, database)
    with database.read() as c:
        rows = c.execute('SELECT "userId","type","data" FROM "Notification"').all()
    assert [(row[0], row[1]) for row in rows] == [(DEFAULT_USER_ID, "late_executions")]
    assert "1 execution has been waiting for more than 300 s" in rows[0][2]


def count(database: Database, block: str, executions: int, failures: int) -> None:
    counts = BlockCounts("here")
    for n in range(executions):
        status = "FAILED" if n < failures else "COMPLETED"
        at = clock.now_ms()
        counts.add(NodeRow("", "", status, "{}", 1, at, at, sequence=1, ended_ms=at, block=block))
    with database.write() as c:
        counts.write(database, c)


def test_blocks_that_fail_too_often_are_reported(database: Database, settings: Settings, wall: Wall):
    assert report_block_error_rates(settings, database) == "No block failed in the last 24 hours."
    count(database, "Rare", 9, 9)
    for name, failures in (("A", 1), ("B", 4), ("C", 3), ("D", 2)):
        count(database, name, 10, failures)
    top = report_block_error_rates(settings, database)
    assert top.splitlines()[1:] == [
        "* B: 4 of 10 node executions failed (40.0%)",
        "* C: 3 of 10 node executions failed (30.0%)",
        "* D: 2 of 10 node executions failed (20.0%)",
    ]
    assert alerts(database) == []

    wall.move(hours=2)
    count(database, "B", 10, 8)
    assert "* B: 12 of 20 node executions failed (60.0%)" in report_block_error_rates(settings, database)
    (alert,) = alerts(database)
    assert (alert.kind, alert.subject, alert.user_id) == (AlertKind.BLOCK_ERROR_RATE, "B", None)

    wall.move(hours=25)
    assert report_block_error_rates(settings, database) == "No block failed in the last 24 hours."
    assert alerts(database) == []


def run(database: Database, schedule_id: str, graph_id: str, lasted: timedelta | None) -> None:
    """Store an execution of a schedule's slot that began now, and how long it lasted; None for one that runs."""
    (id_,) = accept(database, graph_id, 1)
    now = clock.now()
    text = """
UPDATE "AgentGraphExecution" SET "status" = ?, "scheduleId" = ?, "scheduledAt" = ?, "startedAt" = ?, "endedAt" = ?
WHERE "id" = ?
"""
    ended = None if lasted is None else database.to_column(now + lasted)
    status, at = "RUNNING" if lasted is None else "COMPLETED", database.to_column(now)
    with database.write() as c:
        c.execute(database.sql(text), (status, schedule_id, at, at, ended, id_))


def test_a_schedule_whose_executions_last_longer_than_its_interval_is_reported(database: Database, wall: Wall):
    graph_id = stored_graph(database)
    slow, quick = make_schedule(graph_id, name="slow"), make_schedule(graph_id, name="quick")
    store(database, slow, quick)
    for lasted in (70, 200, 180, 190):
        run(database, slow.id, graph_id, timedelta(seconds=lasted))
        run(database, quick.id, graph_id, timedelta(seconds=lasted if lasted != 180 else 59))
        wall.move(minutes=1)
        if lasted == 180:
            assert report_drift(database) == NO_DRIFT  # two gaps say too little
    assert f"* schedule {slow.id} (slow): its last 3 executions lasted 180 s or more" in report_drift(database)
    (alert,) = alerts(database)
    assert (alert.subject, alert.user_id) == (slow.id, DEFAULT_USER_ID)

    # the one that runs has not lasted for long yet
    run(database, slow.id, graph_id, None)
    assert report_drift(database) == NO_DRIFT
    assert alerts(database) == []
    wall.move(minutes=2)
    assert "slow" in report_drift(database)


def test_another_users_alerts_are_not_listed(database: Database):
    findings = [Finding(AlertKind.LATE_EXECUTIONS, user, user, "late", 1) for user in ("x", DEFAULT_USER_ID)]
    findings.append(Finding(AlertKind.BLOCK_ERROR_RATE, "B", None, "fails", 1))
    at = clock.now()
    Alerts(database).keep(AlertKind.LATE_EXECUTIONS, findings[:2], at)
    Alerts(database).keep(AlertKind.BLOCK_ERROR_RATE, findings[2:], at)
    assert {alert.subject for alert in alerts(database)} == {DEFAULT_USER_ID, "B"}
    mine = Alerts(database).list(DEFAULT_USER_ID, with_servers=False, only_open=True, limit=1)
    assert [alert.subject for alert in mine.items] == [DEFAULT_USER_ID]
    first = Alerts(database).list(DEFAULT_USER_ID, with_servers=True, only_open=True, limit=1)
    rest = Alerts(database).list(DEFAULT_USER_ID, with_servers=True, only_open=True, limit=1, cursor=first.next_cursor)
    assert [*first.items, *rest.items] == alerts(database)


def test_a_range_that_ends_before_anything_is_late_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="nothing would ever be late"):
        Settings(data_dir=tmp_path, execution_late_notification_threshold_secs=3600)
