"""The checker itself: content with a good database, and every kind of damage is named."""

from __future__ import annotations

import contextlib

import pytest
from running_server import environment, running_server

from autogpt_server.data.database import Database
from tests.faults import load
from tests.faults.checker import Checker

Good = tuple[Database, list[str]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory):
    """A database in which graphs of every kind have run, and what was accepted."""
    folder, url = tmp_path_factory.mktemp("good"), "file:database.db"
    with running_server(environment(folder, url, AUTOGPT_BLOCKS=load.BLOCKS)) as server:
        client = load.Load(server.url, url, folder)
        chain, stream, parts = (client.store(one) for one in (load.chain(), load.stream(), load.parts()))
        for graph_id in (chain, stream, parts, client.store(load.calling(chain))):
            client.submit(graph_id, 3)
        client.wait_for_all()
    yield client.database, client.accepted
    client.close()


class _Undone(Exception):
    """Rolls the damage back."""


def _problems(good: Good, damage: str | None = None) -> list[str]:
    """Damage the database, check, and undo the damage."""
    database, accepted = good
    found: list[str] = []
    # No process died here: whatever was started more than once is too much.
    with contextlib.suppress(_Undone), database.write() as c:
        c.execute("PRAGMA defer_foreign_keys = ON")
        if damage is not None:
            assert c.execute(damage).rowcount > 0, damage
        found = Checker(c, max_attempts=1).problems(accepted)
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
