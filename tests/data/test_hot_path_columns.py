"""Plain SQL names tables and columns by hand; these tests hold them, and the migrated tables, to schema.prisma."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prisma import Prisma

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.data.leases import Lease, Leases
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.data.records import Ending, Record, recorder
from autogpt_server.model.clock import to_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.settings import Settings
from tests.make_graph import make_graph, node_id, store_graph

ROOT = Path(__file__).resolve().parents[2]
TYPES = {
    "sqlite": {"String": "TEXT", "Int": "INTEGER", "Boolean": "BOOLEAN", "DateTime": "DATETIME"},
    "postgresql": {
        "String": "text",
        "Int": "integer",
        "Boolean": "boolean",
        "DateTime": "timestamp(3) without time zone",
    },
}
#: Names that a statement makes up for itself.
ALIAS = re.compile(r'(?:AS|WITH) "(\w+)"')
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|VALUES|SET)\b")
COLUMNS = {
    "sqlite": """SELECT m.name, p.name, p.type, p."notnull", p.pk > 0 FROM sqlite_master m, pragma_table_info(m.name) p
                 WHERE m.type = 'table' AND m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%'
                   AND m.name NOT LIKE 'apscheduler%'""",
    "postgresql": """SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                       EXISTS (SELECT FROM pg_index i
                               WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY(i.indkey))
                     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                     WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND left(c.relname, 1) <> '_'
                       AND left(c.relname, 11) <> 'apscheduler' AND a.attnum > 0 AND NOT a.attisdropped""",
}


@dataclass(frozen=True)
class Column:
    table: str
    name: str
    type: str
    required: bool
    key: bool


def columns_of_schema(types: dict[str, str]) -> set[Column]:
    columns: set[Column] = set()
    schema = (ROOT / "schema.prisma").read_text()
    for table, body in re.findall(r"^model (\w+) \{\n(.*?)^\}", schema, re.M | re.S):
        keys = re.search(r"@@id\(\[(.*?)\]\)", body)
        for name, kind, optional, rest in re.findall(r"^  (\w+)\s+(\w+)(\??)(?!\[)([^\n]*)", body, re.M):
            if kind in types:
                key = "@id" in rest or (keys is not None and name in keys.group(1).split(", "))
                columns.add(Column(table, name, types[kind], not optional, key))
    return columns


def columns_of_database(database: Database) -> set[Column]:
    with database.read() as c:
        rows = c.execute(COLUMNS[database.provider]).all()
    return {Column(table, name, kind, bool(required), bool(key)) for table, name, kind, required, key in rows}


def test_the_migrated_tables_have_the_columns_of_the_schema(database: Database):
    expected = columns_of_schema(TYPES[database.provider])

    assert len(expected) > 50
    assert columns_of_database(database) == expected


HOT_PATH = [
    path
    for path in sorted((ROOT / "autogpt_server" / "data").glob("*.py"))
    # The tables of APScheduler stand outside the schema; the names in sealed.py are values, which its tests fill.
    if path.name not in ("job_tables.py", "sealed.py")
    and ".execute(" in (text := path.read_text())
    and "import Database\n" in text
]


@pytest.mark.parametrize("path", HOT_PATH, ids=lambda path: path.name)
def test_plain_sql_names_only_what_the_schema_has(path: Path):
    columns = columns_of_schema(TYPES["sqlite"])
    known = {column.table for column in columns} | {column.name for column in columns}

    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    statements = [text for text in texts if isinstance(text, str) and SQL.search(text)]
    named = {name for text in statements for name in re.findall(r'"(\w+)"', text)}
    aliases = {name for text in statements for name in ALIAS.findall(text)}

    assert named
    assert named - aliases <= known


def test_the_hot_path_is_found():
    assert {"queue.py", "executions.py", "leases.py"} <= {path.name for path in HOT_PATH}


# Every value that plain SQL writes


@pytest.fixture
def engine_database(engine_settings: Settings) -> Iterator[Database]:
    database = Database.from_settings(engine_settings)
    yield database
    database.close()


def execute_one(database: Database) -> tuple[str, Lease]:
    """Write what an execution writes in its life; gives its id and the lease of its executor."""
    graph = make_graph(load_registry(), {"a": ("ValueBlock", {"input": "é"})})
    store_graph(database, load_registry(), graph)
    queue, leases = ExecutionQueue(database), Leases(database)
    execution_id, lease = new_id(), leases.register("host", 4711)
    new = NewExecution(execution_id, graph.id, 1, DEFAULT_USER_ID, '{"x": "é\u2028"}', idempotency_key="key %s ?")
    with database.write() as c:
        queue.accept(c, [[new]])
    claimed = queue.claim(lease, 1)
    assert [each.id for each in claimed] == [execution_id]
    moment = datetime(2026, 3, 29, 1, 59, 59, 987_654, tzinfo=UTC)
    node = NodeRow(
        id=f"{execution_id}.0",
        node_id=node_id("a"),
        status=ExecutionStatus.FAILED,
        inputs="{}",
        attempt=1,
        queued_ms=to_ms(moment),
        started_ms=to_ms(moment) + 1,
        sequence=1,
        outputs='[["error", "\u00e9"]]',
        error="broken",
        ended_ms=to_ms(moment + timedelta(days=365 * 100)),
    )
    ending = Ending(ExecutionStatus.FAILED, "{}", '{"nodes": 1}', "a node failed")
    with database.write() as c:
        assert recorder(database, lease)(c, [Record(execution_id, 1, [node], ending)]) == [True]
    return execution_id, lease


def plain_row(database: Database, table: str, key: str) -> dict[str, Any]:
    """A row as plain SQL reads it, with its values as Prisma gives them."""
    kinds = {column.name: column.type for column in columns_of_schema(TYPES["sqlite"]) if column.table == table}
    with database.read() as c:
        result = c.execute(database.sql(f'SELECT * FROM "{table}" WHERE "id" = ?'), (key,))
        row = dict(zip(result.columns, result.one(), strict=True))
    convert = {"DATETIME": database.from_column, "BOOLEAN": bool}
    return {name: convert.get(kinds[name], lambda value: value)(value) for name, value in row.items()}


async def test_prisma_reads_every_value_as_plain_sql_wrote_it(engine_database: Database, db: Prisma):
    execution_id, lease = execute_one(engine_database)

    stored = {
        "AgentGraphExecution": await db.agentgraphexecution.find_unique_or_raise(where={"id": execution_id}),
        "AgentNodeExecution": await db.agentnodeexecution.find_unique_or_raise(where={"id": f"{execution_id}.0"}),
        "Executor": await db.executor.find_unique_or_raise(where={"id": lease.id}),
    }

    for table, model in stored.items():
        expected = plain_row(engine_database, table, model.id)
        assert {name: getattr(model, name) for name in expected} == expected
    node = stored["AgentNodeExecution"]
    assert node.queuedAt == datetime(2026, 3, 29, 1, 59, 59, 987_000, tzinfo=UTC)
    execution = stored["AgentGraphExecution"]
    assert execution.createdAt <= execution.startedAt <= execution.endedAt <= datetime.now(UTC)
    assert datetime.now(UTC) - execution.createdAt < timedelta(minutes=1)
    assert (execution.inputs, execution.idempotencyKey) == ('{"x": "é\u2028"}', "key %s ?")


async def test_plain_sql_reads_every_time_as_prisma_wrote_it(engine_database: Database, db: Prisma):
    moment = datetime(2026, 10, 25, 2, 30, 0, 123_000, tzinfo=UTC)
    made = await db.executor.create({"id": new_id(), "host": "h", "pid": 1, "startedAt": moment})
    user = await db.user.create({"id": new_id(), "email": f"{new_id()}@b.c"})

    assert plain_row(engine_database, "Executor", made.id)["startedAt"] == moment
    assert plain_row(engine_database, "User", user.id)["createdAt"] == user.createdAt
