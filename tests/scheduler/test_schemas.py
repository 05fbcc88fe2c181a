"""Servers beside each other in one PostgreSQL database, each in a schema of its own: none sees, fires or hears of
what another has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from autogpt_server.data.announcements import Announcements
from autogpt_server.data.database import Database
from autogpt_server.data.direct_url import direct_database_url
from autogpt_server.data.migrations import migrate
from autogpt_server.data.queue import ExecutionQueue
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.settings import Settings
from tests.data.schedule_rows import executions, make_schedule, stored_graph
from tests.make_settings import make_settings
from tests.postgres_server import PostgresServer
from tests.scheduler.scheduler_process import Service, until

SCHEMAS = ("one", "Two words")


@pytest.fixture
def servers(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[list[tuple[Settings, Database]]]:
    """Settings and database of two servers; what goes around a pooler is spelled in another way."""
    with postgres_server.database() as url:
        made: list[tuple[Settings, Database]] = []
        for i, schema in enumerate(SCHEMAS):
            usual = f"{url}?schema={schema}"
            settings = make_settings(tmp_path / str(i), usual, direct_url=usual.replace("127.0.0.1", "localhost"))
            migrate(settings)
            made.append((settings, Database.from_settings(settings)))
        yield made
        for _, database in made:
            database.close()
        with psycopg.connect(url) as c:
            # Nobody has strayed into the schema that everybody finds.
            assert c.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def ids_of(service: Service) -> set[str]:
    return {one["id"] for one in service.post("get_graph_execution_schedules").json()}


def test_two_schedulers_each_see_and_fire_their_own(servers: list[tuple[Settings, Database]]) -> None:
    (one, mine), (two, theirs) = servers
    graphs = stored_graph(mine), stored_graph(theirs)
    with Service(one) as first, Service(two) as second:
        kept = first.add(graphs[0])["id"], second.add(graphs[1])["id"]
        assert [ids_of(first), ids_of(second)] == [{kept[0]}, {kept[1]}]
        at = (clock.now() + timedelta(seconds=1)).isoformat()
        once, other = (
            each.add(graph, cron=None, run_at=at)["id"] for each, graph in zip((first, second), graphs, strict=True)
        )
        # It knows nothing of that one.
        answer = second.post("delete_graph_execution_schedule", schedule_id=kept[0], user_id="other")
        assert answer.json()["type"] == "ScheduleNotFound"
        until(lambda: executions(mine) and executions(theirs))
    assert [[row[0] for row in executions(each)] for each in (mine, theirs)] == [[once], [other]]
    for each, id_ in zip((mine, theirs), kept, strict=True):
        with each.read() as c:
            jobs = set(c.execute("SELECT id FROM apscheduler_jobs").scalars())
        assert jobs == {id_, "report_late_executions", "report_block_error_rates", "cleanup_expired_files"}


def test_a_change_is_told_to_schedulers_of_its_own_schema_only(servers: list[tuple[Settings, Database]]) -> None:
    heard: list[list[str]] = [[], []]
    began = [threading.Event(), threading.Event()]
    listeners: list[Announcements] = []
    for (settings, _), told, begun in zip(servers, heard, began, strict=True):

        def hear(ids: Any, told: list[str] = told, begun: threading.Event = begun) -> None:
            told += ids
            begun.set()

        listeners.append(Announcements(direct_database_url(settings), hear))
        listeners[-1].start()
    assert all(begun.wait(20) for begun in began)
    made = [make_schedule("g") for _ in range(3)]
    for (_, database), schedule in zip((servers[0], servers[1], servers[0]), made, strict=True):
        Schedules(database, lambda ids: None).create(schedule, job_row(schedule))
    # PostgreSQL tells in the order of the commits: what came before these would have been heard by now.
    until(lambda: made[2].id in heard[0] and made[1].id in heard[1])
    for listener in listeners:
        listener.stop()
    assert heard == [[made[0].id, made[2].id], [made[1].id]]


def test_whoever_keeps_the_limits_of_one_server_keeps_nobody_of_another_waiting(
    servers: list[tuple[Settings, Database]],
) -> None:
    (_, mine), (_, theirs) = servers
    with mine.write() as c, theirs.write() as d:
        ExecutionQueue(mine)._lock_limits(c)
        d.execute("SET LOCAL lock_timeout = '2s'")
        ExecutionQueue(theirs)._lock_limits(d)
        with pytest.raises(Unavailable), mine.write() as e:
            e.execute("SET LOCAL lock_timeout = '50ms'")
            ExecutionQueue(mine)._lock_limits(e)
