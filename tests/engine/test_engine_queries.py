"""What the generated client asks of the engine, on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prisma import Prisma, errors, models

from autogpt_server.model.ids import new_id

ODD_TEXT = 'quoted "text" \n\t\\ é 🎉 {x}: [1], # $type \\" \\\\'


@pytest.fixture
async def user_id(db: Prisma) -> str:
    user = await db.user.create(data={"id": new_id(), "email": f"{new_id()}@localhost"})
    return user.id


async def make_block(db: Prisma) -> str:
    name = f"Block{new_id()}"
    await db.agentblock.create(data={"id": new_id(), "name": name, "inputSchema": "{}", "outputSchema": "{}"})
    return name


async def make_graph(db: Prisma, user_id: str, name: str = "graph", nodes: int = 2) -> models.AgentGraph:
    block = await make_block(db)
    return await db.agentgraph.create(
        data={
            "id": new_id(),
            "version": 1,
            "name": name,
            "User": {"connect": {"id": user_id}},
            "AgentNodes": {
                "create": [{"id": f"n{i}", "AgentBlock": {"connect": {"name": block}}} for i in range(nodes)]
            },
        },
        include={"AgentNodes": True},
    )


async def make_execution(db: Prisma, graph: models.AgentGraph, **more: object) -> models.AgentGraphExecution:
    return await db.agentgraphexecution.create(
        data={
            "id": new_id(),
            "agentGraphId": graph.id,
            "agentGraphVersion": graph.version,
            "userId": graph.userId,
            **more,  # type: ignore[typeddict-item]
        }
    )


async def test_a_nested_create_returns_the_rows_that_were_included(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id)

    assert graph.AgentNodes is not None
    assert sorted(node.id for node in graph.AgentNodes) == ["n0", "n1"]
    assert graph.AgentNodes[0].constantInput == "{}"


@pytest.mark.parametrize(
    "text", [ODD_TEXT, "", "null", "true", "{}", "a\u2028\u2029\x85\ufeffb", "\\", '"', "\U0001f469\u200d\U0001f680"]
)
async def test_text_comes_back_as_it_was_written(db: Prisma, user_id: str, text: str) -> None:
    graph = await make_graph(db, user_id, name=text)

    stored = await db.agentgraph.find_first(where={"id": graph.id, "name": text})

    assert stored is not None
    assert stored.name == text


async def test_a_very_long_text_comes_back(db: Prisma, user_id: str) -> None:
    text = '{"key \\" \n": "value"}' * 200_000

    graph = await make_graph(db, user_id, name=text, nodes=0)

    assert graph.name == text


async def test_relations_are_read_in_the_order_and_number_asked_for(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id, nodes=5)

    found = await db.agentgraph.find_many(
        where={"id": graph.id},
        include={"AgentNodes": {"where": {"id": {"not": "n4"}}, "order_by": {"id": "desc"}, "take": 2, "skip": 1}},
    )

    assert [node.id for node in found[0].AgentNodes or []] == ["n2", "n1"]


async def test_rows_are_found_by_their_relations(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id)
    await make_graph(db, user_id, nodes=0)

    found = await db.agentgraph.find_many(where={"userId": user_id, "AgentNodes": {"some": {"id": "n1"}}})

    assert [row.id for row in found] == [graph.id]


async def test_conditions_combine(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id, nodes=4)

    found = await db.agentnode.find_many(
        where={"agentGraphId": graph.id, "OR": [{"id": "n0"}, {"id": {"in": ["n2", "zzz"]}}], "NOT": [{"id": "n0"}]}
    )

    assert [node.id for node in found] == ["n2"]


async def test_times_keep_their_milliseconds(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id)
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    execution = await make_execution(db, graph, scheduleId=new_id(), scheduledAt=moment)

    found = await db.agentgraphexecution.find_many(
        where={"agentGraphId": graph.id, "scheduledAt": {"gte": moment, "lt": moment + timedelta(milliseconds=1)}}
    )

    assert [(row.id, row.scheduledAt) for row in found] == [(execution.id, moment)]
    assert abs(datetime.now(UTC) - execution.createdAt) < timedelta(seconds=30)


async def test_many_rows_are_created_updated_counted_and_deleted(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id)
    execution = await make_execution(db, graph)
    rows = [
        {"id": f"{execution.id}.{i}", "agentGraphExecutionId": execution.id, "agentNodeId": "n0", "status": "RUNNING"}
        for i in range(20)
    ]

    created = await db.agentnodeexecution.create_many(data=[{**row, "inputData": "{}"} for row in rows])  # type: ignore[typeddict-item]
    updated = await db.agentnodeexecution.update_many(
        where={"agentGraphExecutionId": execution.id, "id": {"endswith": "5"}},
        data={"status": "FAILED", "attempt": {"increment": 1}},
    )
    groups = await db.agentnodeexecution.group_by(
        by=["status"],
        where={"agentGraphExecutionId": execution.id},
        count=True,
        sum={"attempt": True},
        order={"status": "asc"},
    )
    deleted = await db.agentnodeexecution.delete_many(where={"agentGraphExecutionId": execution.id, "status": "FAILED"})

    assert (created, updated, deleted) == (20, 2, 2)
    assert [(g["status"], g["_count"]["_all"], g["_sum"]["attempt"]) for g in groups] == [  # type: ignore[typeddict-item]
        ("FAILED", 2, 4),
        ("RUNNING", 18, 18),
    ]
    assert await db.agentnodeexecution.count(where={"agentGraphExecutionId": execution.id}) == 18


async def test_an_update_returns_the_row_or_none(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id)
    key = {"id": graph.id, "version": 1}

    updated = await db.agentgraph.update(where={"id_version": key}, data={"isActive": False})  # type: ignore[typeddict-item]
    missing = await db.user.update(where={"id": "nobody"}, data={"name": "x"})

    assert updated is not None
    assert updated.isActive is False
    assert updated.updatedAt >= graph.updatedAt
    assert missing is None


async def test_an_upsert_creates_and_then_updates(db: Prisma) -> None:
    user = new_id()
    data = {"create": {"id": user, "email": f"{user}@localhost"}, "update": {"name": "second"}}

    first = await db.user.upsert(where={"id": user}, data=data)  # type: ignore[arg-type]
    second = await db.user.upsert(where={"id": user}, data=data)  # type: ignore[arg-type]

    assert (first.name, second.name) == (None, "second")


async def test_deleting_a_graph_row_deletes_what_hangs_on_it(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id)

    await db.agentgraph.delete(where={"id_version": {"id": graph.id, "version": 1}})  # type: ignore[typeddict-item]

    assert await db.agentnode.count(where={"agentGraphId": graph.id}) == 0


async def test_errors_have_the_classes_of_the_client(db: Prisma, user_id: str) -> None:
    graph = await make_graph(db, user_id)

    with pytest.raises(errors.UniqueViolationError):
        await db.agentgraph.create(data={"id": graph.id, "version": 1, "name": "again", "userId": user_id})
    with pytest.raises(errors.ForeignKeyViolationError):
        await db.agentgraph.create(data={"id": new_id(), "version": 1, "name": "x", "userId": "nobody"})
    with pytest.raises(errors.RecordNotFoundError):
        await db.user.find_unique_or_raise(where={"id": "nobody"})
    with pytest.raises(errors.MissingRequiredValueError):
        await db.user.create(data={"id": new_id()})  # type: ignore[typeddict-item]
    with pytest.raises(errors.FieldNotFoundError):
        await db.user.find_many(where={"bogus": 1})  # type: ignore[typeddict-unknown-key]


async def test_a_batch_happens_whole_or_not_at_all(db: Prisma) -> None:
    first, second = new_id(), new_id()
    async with db.batch_() as batch:
        batch.user.create(data={"id": first, "email": f"{first}@localhost"})
        batch.user.update(where={"id": first}, data={"name": "batched"})

    with pytest.raises(errors.UniqueViolationError):
        async with db.batch_() as batch:
            batch.user.create(data={"id": second, "email": f"{second}@localhost"})
            batch.user.create(data={"id": second, "email": "other@localhost"})

    assert (await db.user.find_unique_or_raise(where={"id": first})).name == "batched"
    assert await db.user.find_unique(where={"id": second}) is None


async def test_raw_sql_takes_parameters_and_fills_models(db: Prisma, user_id: str, engine_settings: object) -> None:
    graph = await make_graph(db, user_id, name=ODD_TEXT)
    mark = "$1" if "postgres" in engine_settings.database_url else "?"  # type: ignore[attr-defined]

    rows = await db.query_raw(f'SELECT * FROM "AgentGraph" WHERE "id" = {mark}', graph.id, model=models.AgentGraph)  # type: ignore[arg-type]
    counts = await db.query_raw(f'SELECT count(*) AS n FROM "AgentGraph" WHERE "id" = {mark}', graph.id)  # type: ignore[arg-type]
    changed = await db.execute_raw(f'UPDATE "AgentGraph" SET "name" = \'raw\' WHERE "id" = {mark}', graph.id)  # type: ignore[arg-type]

    assert (rows[0].name, rows[0].createdAt) == (ODD_TEXT, graph.createdAt)
    assert int(counts[0]["n"]) == 1
    assert changed == 1
    with pytest.raises((errors.RawQueryError, errors.TableNotFoundError)):
        await db.execute_raw("UPDATE nowhere SET x = 1")


async def test_fifty_nested_creates_at_once_all_happen(db: Prisma, user_id: str) -> None:
    await asyncio.gather(*(make_graph(db, user_id, nodes=1) for _ in range(50)))

    assert await db.agentgraph.count(where={"userId": user_id}) == 50
    assert await db.agentnode.count(where={"AgentGraph": {"is": {"userId": user_id}}}) == 50


async def test_metrics_have_the_right_shape(db: Prisma) -> None:
    metrics = await db.get_metrics()

    assert metrics.counters == []
    assert await db.get_metrics(format="prometheus") == ""
