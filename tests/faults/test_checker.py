"""The checker itself: content with a good database, and every kind of damage is named."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass

import pytest
from running_server import environment, running_server

from autogpt_server.data.database import Database
from tests.faults import load
from tests.faults.checker import Checker
from tests.faults.owner import Owner
from tests.faults.schedule_checks import Known


@dataclass(frozen=True)
class Good:
    """A database in which nothing was broken, and what clients know of it."""

    database: Database
    accepted: list[str]
    schedules: list[Known]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory):
    """Graphs of every kind have run, and schedules of every kind have fired."""
    folder, url = tmp_path_factory.mktemp("good"), "file:database.db"
    with running_server(environment(folder, url, AUTOGPT_BLOCKS=load.BLOCKS)) as server:
        client = load.Load(server.url, url, folder)
        chain, stream, parts = (client.store(one) for one in (load.chain(), load.stream(), load.parts()))
        for graph_id in (chain, stream, parts, client.store(load.calling(chain))):
            client.submit(graph_id, 3)
        schedules = owner_of_all(client)
        client.wait_for_all()
    yield Good(client.database, client.accepted, schedules)
    client.close()


def owner_of_all(client: load.Load) -> list[Known]:
    """Let schedules of every kind fire, one of which is deleted then, some are paused, and some come in a day."""
    problems: list[str] = []
    owner = Owner(client, random.Random(1), problems.append)
    for _ in range(2):
        owner.once(0.5)
    deleted = list(owner.known)[-1]
    for id_, count in ((deleted, 1), (next(iter(owner.known)), 3)):
        text = f'SELECT COUNT(*) FROM "AgentScheduleSlot" WHERE "scheduleId" = \'{id_}\''
        client.until(lambda c, text=text, count=count: c.execute(text).scalar_one() >= count, "nothing fires")
    owner.delete(deleted)
    owner.settle()
    assert problems == []
    return list(owner.known.values())


class _Undone(Exception):
    """Rolls the damage back."""


def _problems(good: Good, damage: str | None = None) -> list[str]:
    """Damage the database, check, and undo the damage."""
    found: list[str] = []
    # No process died here: whatever was started more than once is too much.
    with contextlib.suppress(_Undone), good.database.write() as c:
        c.execute("PRAGMA defer_foreign_keys = ON")
        if damage is not None:
            assert c.execute(damage).rowcount > 0, damage
        found = Checker(c, max_attempts=1).problems(good.accepted, good.schedules)
        raise _Undone
    return found


def test_a_good_database_has_no_problems(good: Good) -> None:
    assert _problems(good) == []


SOME = '(SELECT "id" FROM "AgentGraphExecution" WHERE "parentExecutionId" IS NULL ORDER BY "id" LIMIT 1)'
CHILD = '(SELECT "id" FROM "AgentGraphExecution" WHERE "parentExecutionId" IS NOT NULL LIMIT 1)'
STREAMED = '(SELECT "agentGraphExecutionId" FROM "AgentNodeOutput" LIMIT 1)'
NODE = f'"AgentNodeExecution" WHERE "agentGraphExecutionId" = {SOME} AND "sequence" = '
OUTPUT = f'"AgentNodeOutput" WHERE "agentGraphExecutionId" = {STREAMED} AND "number" = 2'


def execution(change: str, which: str = SOME) -> str:
    return f'UPDATE "AgentGraphExecution" SET {change} WHERE "id" = {which}'


def node(change: str, sequence: int) -> str:
    """Change one of the five nodes in a row."""
    table, _, where = NODE.partition(" WHERE ")
    return f"UPDATE {table} SET {change} WHERE {where}{sequence}"


def part(change: str, block: str) -> str:
    """Change a node that puts lists together, or one before or behind it."""
    graph = '"agentGraphId" = (SELECT "agentGraphId" FROM "AgentNode" WHERE "agentBlockName" = \'AddToListBlock\')'
    nodes = f'SELECT "id" FROM "AgentNode" WHERE {graph} AND "agentBlockName" = \'{block}\''
    one = f'SELECT "id" FROM "AgentNodeExecution" WHERE "agentNodeId" IN ({nodes}) LIMIT 1'
    return f'UPDATE "AgentNodeExecution" SET {change} WHERE "id" = ({one})'


def output(change: str) -> str:
    table, _, where = OUTPUT.partition(" WHERE ")
    return f"UPDATE {table} SET {change} WHERE {where}"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (f'DELETE FROM "AgentGraphExecution" WHERE "id" = {SOME}', "was accepted and is lost"),
        (execution("\"status\" = 'RUNNING'"), "is RUNNING, not ended"),
        (execution('"endedAt" = NULL'), "a final status and no end"),
        (node("\"status\" = 'RUNNING'", 2), "is RUNNING"),
        (node('"outputData" = NULL', 5), "COMPLETED without outputs"),
        (f"DELETE FROM {NODE}5", "counts 5 nodes, 4 are recorded"),
        (execution('"outputs" = \'{"count": [7]}\''), "not what its output nodes received"),
        (execution('"attempt" = 0'), "was never started"),
        (execution('"attempt" = 2'), "was started 2 times"),
        (execution('"deaths" = 3'), "survived 3 deaths"),
        (execution('"deaths" = 4, "status" = \'FAILED\''), "survived 4 deaths"),
        (node('"attempt" = 9', 1), "is of attempt 9"),
        (node('"revision" = 999', 1), "has revision 999"),
        (node('"sequence" = 9', 3), "its ends are numbered [1, 2, 4, 5, 9]"),
        (node('"sequence" = NULL', 5), "nodes that never ended"),
        (f"DELETE FROM {OUTPUT}", "its streamed outputs are numbered [1, 3, 4, 5]"),
        (output("\"value\" = '7'"), "other outputs than it had streamed"),
        (output("\"agentNodeExecutionId\" = 'x'"), "which is not recorded"),
        (output('"revision" = 999'), "streamed output 2 has revision 999"),
        (execution("\"parentExecutionId\" = 'x'", CHILD), "which is not there"),
        (execution("\"status\" = 'QUEUED'", CHILD), "goes on though"),
        (node('"inputData" = \'{"value": 7}\'', 2), "consumed ['7'] more often"),
        (node('"outputData" = \'[["value", 1], ["value", 1]]\'', 2), "ran 1 times, values for 2 had arrived"),
        (part('"inputData" = \'{"entries": ["first", 9, 7]}\'', "AddToListBlock"), "consumed ['9'] more often"),
        (part('"inputData" = \'{"entries": ["first", 1, 8]}\'', "AddToListBlock"), "consumed ['8'] more often"),
        (part('"inputData" = \'{"value": 77}\'', "RecordingBlock"), "consumed ['77'] more often"),
        (part("\"outputData\" = '[]'", "ValueBlock"), "ran 5 times, values for 0 had arrived"),
        (part("\"outputData\" = '[]'", "AddToListBlock"), "ran 5 times, values for 4 had arrived"),
        (node("\"agentNodeId\" = 'x'", 1), "starts the graph and ran 0 times"),
        (node("\"agentNodeId\" = 'x'", 1), "which its graph does not have"),
        (node("\"agentGraphExecutionId\" = 'x'", 1), "nodes of no execution"),
    ],
)
def test_damage_is_named(good: Good, damage: str, problem: str) -> None:
    found = _problems(good, damage)
    assert any(problem in one for one in found), found


def schedule_where(condition: str) -> str:
    return f'(SELECT "id" FROM "AgentExecutionSchedule" WHERE {condition} ORDER BY "id" LIMIT 1)'


PLAIN = schedule_where(
    '"intervalSeconds" = 86400 AND "overlapPolicy" = \'allow\' AND "misfirePolicy" = \'latest\' AND "maxRuns" IS NULL'
)
PAUSED = schedule_where('"isEnabled" = 0 AND "deletedAt" IS NULL AND "overlapPolicy" = \'allow\'')
DELETED = schedule_where('"deletedAt" IS NOT NULL')
BUFFERED = schedule_where("\"overlapPolicy\" = 'buffer_one'")
OVER = schedule_where('"runAt" IS NOT NULL AND "deletedAt" IS NULL')
SKIPPED = '"outcome" = \'skipped\', "graphExecutionId" = NULL'


def schedule(change: str, which: str = PLAIN) -> str:
    return f'UPDATE "AgentExecutionSchedule" SET {change} WHERE "id" = {which}'


def slots(which: str = PLAIN, number: int = 1) -> str:
    """Where one of a schedule's slots is found, the second by default."""
    times = f'SELECT "scheduledAt" FROM "AgentScheduleSlot" WHERE "scheduleId" = {which} ORDER BY "scheduledAt"'
    return f'"scheduleId" = {which} AND "scheduledAt" = ({times} LIMIT 1 OFFSET {number})'


def slot(change: str, which: str = PLAIN, number: int = 1) -> str:
    return f'UPDATE "AgentScheduleSlot" SET {change} WHERE {slots(which, number)}'


def scheduled(change: str, which: str = PLAIN, number: int = 1) -> str:
    """Change the execution of a slot."""
    return f'UPDATE "AgentGraphExecution" SET {change} WHERE {slots(which, number)}'


def job(change: str, which: str = PLAIN) -> str:
    return f"UPDATE apscheduler_jobs SET {change} WHERE id = {which}"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (f'DELETE FROM "AgentScheduleSlot" WHERE {slots()}', "nobody knows what became of slot"),
        (f'DELETE FROM "AgentScheduleSlot" WHERE {slots()}', "is not that of the ledger"),
        (f'DELETE FROM "AgentGraphExecution" WHERE {slots()}', "fired without its execution"),
        (slot("\"graphExecutionId\" = 'x'"), "fired without its execution x"),
        (scheduled('"scheduledAt" = "scheduledAt" + 1'), "is not that of the ledger"),
        (slot('"lastScheduledAt" = "scheduledAt" + 1000'), "was decided about twice"),
        (schedule('"runs" = 77'), "counts 77 runs"),
        (schedule('"maxRuns" = 1'), "it may 1 times"),
        (slot("\"outcome\" = 'late'"), "was made up for after"),
        (slot('"firedAt" = "firedAt" + 30000'), "and says in time"),
        (slot('"firedAt" = "scheduledAt" - 1'), "and says in time"),
        (slot(SKIPPED), "did not fire, without a reason"),
        (slot("\"outcome\" = 'skipped', \"reason\" = 'a policy'"), "or with an execution"),
        (slot(f"{SKIPPED}, \"reason\" = 'nobody fired it in time'"), "was skipped after"),
        (schedule('"nextRunAt" = 7', DELETED), "is deleted, and comes again"),
        (slot('"firedAt" = "firedAt" + 9000', DELETED, 0), "was decided about after it was deleted"),
        (scheduled('"createdAt" = "createdAt" + 9000', DELETED, 0), "fired after it was deleted"),
        (schedule('"deletedAt" = NULL', DELETED), "was deleted by its owner"),
        (schedule('"nextRunAt" = 7', PAUSED), "is paused, and comes at 7"),
        (slot('"firedAt" = "firedAt" + 9000', PAUSED, 0), "while it was paused"),
        (schedule('"nextRunAt" = 7'), "was decided about already"),
        (schedule('"nextRunAt" = NULL'), "never comes again"),
        (schedule('"nextRunAt" = "nextRunAt" + 86400000'), "not between"),
        (schedule('"nextRunAt" = "nextRunAt" + 1'), "not between"),
        (f'DELETE FROM "AgentScheduleSlot" WHERE {slots(OVER, 0)}', "never comes again"),
        (scheduled('"endedAt" = "endedAt" + 90000', BUFFERED, 0), "started before"),
        (schedule("\"overlapPolicy\" = 'skip'", BUFFERED), "was accepted while 1 had not ended"),
        (slot('"scheduledAt" = "scheduledAt" + 1'), "are none of it"),
        (slot('"count" = 3'), "are counted as 3"),
        (f"DELETE FROM apscheduler_jobs WHERE id = {PLAIN}", "has no job row"),
        (f"DELETE FROM apscheduler_jobs WHERE id = {PAUSED}", "has no job row"),
        (job(f"id = {DELETED}"), "has a job row"),
        (job("id = 'x'"), "a row of no schedule"),
        (job("next_run_time = next_run_time + 1"), "its job row at"),
        (job("next_run_time = NULL"), "its job row at None"),
        (job(f"job_state = (SELECT job_state FROM apscheduler_jobs WHERE id = {BUFFERED})"), "with another job"),
        (job(f"job_state = (SELECT job_state FROM apscheduler_jobs WHERE id = {PAUSED})"), "with a job at None"),
        (f'DELETE FROM "AgentExecutionSchedule" WHERE "id" = {PLAIN}', "was made and is lost"),
        (f'DELETE FROM "AgentExecutionSchedule" WHERE "id" = {PLAIN}', "executions of no schedule"),
    ],
)  # fmt: skip
def test_damage_of_schedules_is_named(good: Good, damage: str, problem: str) -> None:
    found = _problems(good, damage)
    assert any(problem in one for one in found), found
