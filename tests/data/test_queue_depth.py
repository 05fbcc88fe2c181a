"""The depth of the queue is read from its index."""

from __future__ import annotations

from autogpt_server.data.database import Database
from autogpt_server.data.queue_depth import _DEPTH, read_queue_depth  # pyright: ignore[reportPrivateUsage]
from autogpt_server.model.clock import now_ms
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.turns import QUARANTINE


def _id(ms: int, n: int) -> str:
    digits = f"{ms:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{n:012x}"


def _store(database: Database, statuses: list[str], ms: int) -> None:
    with database.write() as c:
        c.execute(
            database.sql(
                'INSERT INTO "User" ("id","email","updatedAt") VALUES (?,?,CURRENT_TIMESTAMP) ON CONFLICT DO NOTHING'
            ),
            (DEFAULT_USER_ID, "a@example.com"),
        )
        c.execute(
            database.sql(
                'INSERT INTO "AgentGraph" ("id","version","name","userId","updatedAt") '
                "VALUES ('g',1,'g',?,CURRENT_TIMESTAMP)"
            ),
            (DEFAULT_USER_ID,),
        )
        c.execute(
            database.sql(
                'INSERT INTO "AgentGraphExecution" ("id","agentGraphId","agentGraphVersion","userId","status") '
                "VALUES (?,'g',1,?,?)"
            ),
            [(_id(ms + n, n), DEFAULT_USER_ID, status) for n, status in enumerate(statuses)],
        )


def test_what_has_ended_is_not_counted(database: Database) -> None:
    _store(database, ["QUEUED"] * 3 + ["PAUSED", "COMPLETED", "FAILED", "RUNNING", "RUNNING"], now_ms() - 60_000)
    depth = read_queue_depth(database)
    assert depth.by_status == {"INCOMPLETE": 0, "QUEUED": 3, "PAUSED": 1, "RUNNING": 2}
    assert 60 <= depth.oldest_seconds < 70


def test_who_is_to_run_alone_is_told_apart(database: Database) -> None:
    start = now_ms() - 60_000
    _store(database, ["QUEUED"] * 5, start)
    with database.write() as c:
        c.execute(
            database.sql('UPDATE "AgentGraphExecution" SET "lane" = ? WHERE "id" IN (?,?)'),
            (QUARANTINE, _id(start, 0), _id(start + 1, 1)),
        )
        c.execute(database.sql('UPDATE "AgentGraphExecution" SET "lane" = ? WHERE "id" = ?'), ("g", _id(start + 2, 2)))
        # The others came half a minute later.
        c.execute(
            database.sql('UPDATE "AgentGraphExecution" SET "id" = ? WHERE "id" = ?'),
            [(_id(start + 30_000 + n, n), _id(start + n, n)) for n in (2, 3, 4)],
        )
    depth = read_queue_depth(database)
    assert (depth.by_status["QUEUED"], depth.quarantined) == (5, 2)
    assert 60 <= depth.oldest_seconds < 70
    assert 30 <= depth.oldest_other_seconds < 40


def test_an_empty_queue_has_no_age(database: Database) -> None:
    assert read_queue_depth(database).oldest_seconds == 0


def test_only_the_index_of_the_queue_is_searched(sqlite_database: Database) -> None:
    with sqlite_database.read() as c:
        plan = [row[3] for row in c.execute("EXPLAIN QUERY PLAN " + _DEPTH).all()]
    assert len(plan) == 1
    assert plan[0].startswith("SEARCH AgentGraphExecution USING COVERING INDEX")
