"""Column types that our own tables do not use, asked for in the engine's own protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prisma_fixtures import running_engine, settings_for

from autogpt_server.data.database import Database
from autogpt_server.data.prisma_client import SocketEngine
from autogpt_server.data.query_engine import socket_path

# The provider is SQLite's in both cases: the engine takes PostgreSQL from the address.
DATAMODEL = """
datasource db {
  provider = "sqlite"
  url      = env("DATABASE_URL")
}
model Thing {
  id      String    @id @default(uuid())
  float   Float?
  big     BigInt?
  exact   Decimal?
  bytes   Bytes?
  flag    Boolean?
  moment  DateTime?
  touched DateTime  @updatedAt
%s
}
"""
JSON_FIELD = "  json Json?"
TABLES = {
    "sqlite": 'CREATE TABLE "Thing" ("id" TEXT PRIMARY KEY, "float" REAL, "big" BIGINT, "exact" DECIMAL, "bytes" BLOB, '
    '"flag" BOOLEAN, "moment" DATETIME, "touched" DATETIME NOT NULL)',
    "postgresql": 'CREATE TABLE "Thing" ("id" TEXT PRIMARY KEY, "float" DOUBLE PRECISION, "big" BIGINT, '
    '"exact" DECIMAL(65,30), "bytes" BYTEA, "flag" BOOLEAN, "moment" TIMESTAMP(3), "touched" TIMESTAMP(3) NOT NULL, '
    '"json" JSONB)',
}


class Things:
    """Writes and reads one table by documents of GraphQL."""

    def __init__(self, engine: SocketEngine, provider: str) -> None:
        self._engine, self.provider = engine, provider

    async def run(self, document: str) -> Any:
        answer = await self._engine.query(json.dumps({"query": document, "variables": {}}), tx_id=None)
        return answer["data"]["result"]

    async def keep(self, field: str, literal: str) -> Any:
        """Write a value into a new row, and return it as it is read back."""
        row = await self.run(f"mutation {{ result: createOneThing(data: {{ {field}: {literal} }}) {{ id {field} }} }}")
        where = f'where: {{ id: "{row["id"]}" }}'
        found = await self.run(f"query {{ result: findUniqueThing({where}) {{ {field} }} }}")
        assert found[field] == row[field]
        return found[field]


@pytest.fixture
async def things(tmp_path: Path, empty_database_url: str) -> AsyncIterator[Things]:
    provider = "postgresql" if empty_database_url.startswith("postgres") else "sqlite"
    settings = settings_for(tmp_path, empty_database_url)
    (tmp_path / "new").mkdir()
    datamodel = tmp_path / "things.prisma"
    datamodel.write_text(DATAMODEL % (JSON_FIELD if provider == "postgresql" else ""))
    database = Database.from_settings(settings)
    with database.write() as connection:
        connection.execute(TABLES[provider])
    database.close()
    with running_engine(settings, datamodel):
        engine = SocketEngine(socket_path(settings))
        yield Things(engine, provider)
        engine.close()


async def test_values_of_every_type_come_back(things: Things) -> None:
    assert await things.keep("float", "28.5") == 28.5
    assert await things.keep("float", "3") == 3
    assert await things.keep("float", "-1.5e-7") == -1.5e-7
    assert await things.keep("big", "9007199254740993") == "9007199254740993"
    assert await things.keep("big", "-5") == "-5"
    assert await things.keep("exact", "1.25") == "1.25"
    assert await things.keep("bytes", '"AAH/"') == "AAH/"
    assert await things.keep("flag", "true") is True
    assert await things.keep("moment", '"2026-01-02T03:04:05.678Z"') == "2026-01-02T03:04:05.678Z"
    assert await things.keep("float", "null") is None


async def test_json_columns_hold_json(things: Things) -> None:
    if things.provider == "sqlite":
        pytest.skip("Prisma has no Json on SQLite")
    for value in ({"a": [1, "x\\y", None]}, "text", 5, [], {"$type": "Json", "value": "x"}):
        assert json.loads(await things.keep("json", json.dumps(json.dumps(value)))) == value


async def test_raw_rows_tell_their_types(things: Things) -> None:
    await things.keep("big", "9007199254740993")
    sql = json.dumps(
        'SELECT "big", count(*) AS n, max("touched") AS t, 1.5 AS f, \'x\' AS s FROM "Thing" GROUP BY "big"'
    )

    result = await things.run(f'mutation {{ result: queryRaw(query: {sql}, parameters: "[]") }}')

    (row,) = result["rows"]
    assert result["columns"] == ["big", "n", "t", "f", "s"]
    assert (result["types"][0], result["types"][4]) == ("bigint", "string")
    assert (row[0], int(row[1]), float(row[3]), row[4]) == ("9007199254740993", 1, 1.5, "x")


async def test_aggregates_count_and_average(things: Things) -> None:
    await things.keep("float", "1")
    await things.keep("float", "4")

    result = await things.run("query { result: aggregateThing { _count { _all } _avg { float } _max { float } } }")

    assert result == {"_count": {"_all": 2}, "_avg": {"float": 2.5}, "_max": {"float": 4}}
