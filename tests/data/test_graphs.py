from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from prisma import Prisma

from autogpt_server.data.graphs import (
    create_graph,
    delete_graph,
    get_graph,
    list_graphs,
    list_versions,
    set_active_version,
)
from autogpt_server.data.prisma_client import connect
from autogpt_server.errors import ConflictError, GraphNotFound, InvalidError
from autogpt_server.model.graph import Graph, Link, Node
from autogpt_server.model.ids import new_id
from autogpt_server.model.policy import GraphPolicy, NodePolicy, RetryPolicy
from autogpt_server.settings import Settings

BLOCK_ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
async def user_id(db: Prisma) -> str:
    return await add_user(db)


async def add_user(db: Prisma) -> str:
    await db.agentblock.upsert(
        where={"name": "SomeBlock"},
        data={
            "create": {"name": "SomeBlock", "id": BLOCK_ID, "inputSchema": "{}", "outputSchema": "{}"},
            "update": {},
        },
    )
    user_id = new_id()
    await db.user.create(data={"id": user_id, "email": f"{user_id}@localhost"})
    return user_id


def some_graph(graph_id: str | None = None, nodes: int = 3, links: int = 2, **changes: object) -> Graph:
    def node_id(i: int) -> str:
        return f"{i:05d}-node"

    return Graph(
        id=graph_id or new_id(),
        name="graph é 🎉\u2028",
        policy=GraphPolicy(max_concurrent_executions=2),
        description='says "hello"',
        nodes=tuple(
            Node(
                id=node_id(i),
                block_id=BLOCK_ID,
                block_name="SomeBlock",
                input_default={"text": 'a "b" \\ \u2028\u0085', "number": 2**70, "none": None},
                metadata={"position": {"x": 1.5}},
                policy=NodePolicy(timeout_seconds=2.5, retry=RetryPolicy(attempts=3, errors=("timeout",)))
                if i % 2
                else NodePolicy(),
            )
            for i in range(nodes)
        ),
        links=tuple(
            Link(
                id=f"{i:05d}-link",
                source_id=node_id(i % nodes),
                source_name=f"out{i // nodes}",
                sink_id=node_id((i + 1) % nodes),
                sink_name="in",
                is_static=i % 2 == 0,
            )
            for i in range(links)
        ),
    ).model_copy(update=changes)


async def test_a_graph_reads_back_as_it_was_saved(db: Prisma, user_id: str) -> None:
    graph = some_graph(is_template=True)

    saved = await create_graph(db, user_id, graph)

    assert saved == graph
    assert await get_graph(db, user_id, graph.id) == graph


async def test_nodes_and_links_come_in_the_order_of_their_ids(db: Prisma, user_id: str) -> None:
    # Upper and lower case and punctuation: databases sort these each in their own way.
    ids = ["b", "B", "a-1", "a1", "A", "_", "é"]
    nodes = tuple(Node(id=i, block_id=BLOCK_ID, block_name="SomeBlock") for i in ids)
    links = tuple(Link(id=i, source_id="b", source_name=i, sink_id="B", sink_name="in") for i in ids)
    graph = Graph(id=new_id(), name="order", nodes=nodes, links=links)

    for result in (await create_graph(db, user_id, graph), await get_graph(db, user_id, graph.id)):
        assert [node.id for node in result.nodes] == sorted(ids)
        assert [link.id for link in result.links] == sorted(ids)


async def test_saving_again_makes_the_next_version_the_only_active_one(db: Prisma, user_id: str) -> None:
    first = await create_graph(db, user_id, some_graph(nodes=3))
    second = await create_graph(db, user_id, some_graph(first.id, nodes=4, version=77, is_active=False))

    assert (first.version, second.version) == (1, 2)
    assert second.is_active
    assert (await get_graph(db, user_id, first.id)).version == 2
    old = await get_graph(db, user_id, first.id, 1)
    assert (len(old.nodes), old.is_active) == (3, False)


async def test_saves_at_the_same_moment_all_get_a_version_and_one_is_active(
    db: Prisma, user_id: str, engine_settings: Settings
) -> None:
    other = await connect(engine_settings)
    graph = some_graph()

    saved = await asyncio.gather(*(create_graph((db, other)[i % 2], user_id, graph) for i in range(12)))

    assert sorted(g.version for g in saved) == list(range(1, 13))
    assert await active_versions(db, graph.id) == [12]
    await other.disconnect()


async def active_versions(db: Prisma, graph_id: str) -> list[int]:
    return [row.version for row in await db.agentgraph.find_many(where={"id": graph_id, "isActive": True})]


async def test_one_version_stays_active_whatever_happens_at_the_same_moment(db: Prisma, user_id: str) -> None:
    graph = await create_graph(db, user_id, some_graph())
    await create_graph(db, user_id, graph)
    for _ in range(5):
        await asyncio.gather(
            *(create_graph(db, user_id, graph) for _ in range(3)),
            *(set_active_version(db, user_id, graph.id, version) for version in (1, 2, 1)),
        )
        assert len(await active_versions(db, graph.id)) == 1


async def test_the_id_of_another_users_graph_is_taken(db: Prisma, user_id: str) -> None:
    graph = await create_graph(db, user_id, some_graph())
    stranger = await add_user(db)

    with pytest.raises(ConflictError, match="new_ids=true") as caught:
        await create_graph(db, stranger, graph)

    assert user_id not in str(caught.value)


async def test_another_users_graph_is_not_found(db: Prisma, user_id: str) -> None:
    graph = await create_graph(db, user_id, some_graph())
    stranger = await add_user(db)

    for call in (
        get_graph(db, stranger, graph.id),
        get_graph(db, stranger, graph.id, 1),
        list_versions(db, stranger, graph.id, limit=10),
        set_active_version(db, stranger, graph.id, 1),
        delete_graph(db, stranger, graph.id),
    ):
        with pytest.raises(GraphNotFound):
            await call
    assert (await list_graphs(db, stranger, limit=10)).items == []
    assert await get_graph(db, user_id, graph.id) == graph


async def test_unknown_graphs_and_versions_are_not_found(db: Prisma, user_id: str) -> None:
    graph = await create_graph(db, user_id, some_graph())

    with pytest.raises(GraphNotFound, match="version 2"):
        await get_graph(db, user_id, graph.id, 2)
    with pytest.raises(GraphNotFound):
        await set_active_version(db, user_id, graph.id, 2)
    with pytest.raises(GraphNotFound):
        await get_graph(db, user_id, new_id())


async def test_another_version_can_be_made_active(db: Prisma, user_id: str) -> None:
    graph = await create_graph(db, user_id, some_graph())
    await create_graph(db, user_id, graph)

    answer = await set_active_version(db, user_id, graph.id, 1)

    assert (answer.version, answer.is_active) == (1, True)
    assert await get_graph(db, user_id, graph.id) == answer
    assert await active_versions(db, graph.id) == [1]


async def test_a_deleted_graph_is_hidden_and_saving_its_id_goes_on_with_the_next_version(
    db: Prisma, user_id: str
) -> None:
    graph = await create_graph(db, user_id, some_graph())
    await create_graph(db, user_id, graph)

    await delete_graph(db, user_id, graph.id)

    for version in (None, 1, 2):
        with pytest.raises(GraphNotFound):
            await get_graph(db, user_id, graph.id, version)
    with pytest.raises(GraphNotFound):
        await list_versions(db, user_id, graph.id, limit=10)
    with pytest.raises(GraphNotFound):
        await delete_graph(db, user_id, graph.id)
    assert (await list_graphs(db, user_id, limit=10)).items == []
    assert await db.agentgraph.count(where={"id": graph.id}) == 2

    assert (await create_graph(db, user_id, graph)).version == 3
    versions = await list_versions(db, user_id, graph.id, limit=10)
    assert [item.version for item in versions.items] == [3]


async def test_graphs_are_listed_newest_first_page_by_page(db: Prisma, user_id: str) -> None:
    # given graphs of which several were made in the same millisecond
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    ids = [new_id() for _ in range(7)]
    for i, graph_id in enumerate(ids):
        await create_graph(db, user_id, some_graph(graph_id, nodes=1, links=0))
        await db.agentgraph.update_many(where={"id": graph_id}, data={"createdAt": moment + timedelta(seconds=i // 3)})

    # when they are read page by page
    seen: list[str] = []
    cursor, sizes = None, []
    while True:
        page = await list_graphs(db, user_id, limit=2, cursor=cursor)
        seen += [item.id for item in page.items]
        sizes.append(len(page.items))
        cursor = page.next_cursor
        if cursor is None:
            break

    # then each comes once
    assert sizes == [2, 2, 2, 1]
    assert seen == [ids[6], *sorted(ids[3:6], reverse=True), *sorted(ids[:3], reverse=True)]


async def test_a_list_shows_the_active_version_only(db: Prisma, user_id: str) -> None:
    graph = await create_graph(db, user_id, some_graph())
    await create_graph(db, user_id, graph.model_copy(update={"name": "second"}))

    (item,) = (await list_graphs(db, user_id, limit=10)).items

    assert (item.id, item.version, item.name, item.description) == (graph.id, 2, "second", graph.description)
    assert item.is_active
    assert abs(datetime.now(UTC) - item.created_at) < timedelta(minutes=1)


async def test_versions_are_listed_newest_first_page_by_page(db: Prisma, user_id: str) -> None:
    graph = await create_graph(db, user_id, some_graph(nodes=1, links=0))
    for _ in range(4):
        await create_graph(db, user_id, graph)

    first = await list_versions(db, user_id, graph.id, limit=3)
    rest = await list_versions(db, user_id, graph.id, limit=3, cursor=first.next_cursor)

    assert [item.version for item in first.items] == [5, 4, 3]
    assert [item.version for item in rest.items] == [2, 1]
    assert rest.next_cursor is None


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "MQ",
        "WzEsMl0",
        "WyJ4IiwieSJd",
        "WyIyMDI2LTAxLTAxIiwieSJd",
        "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwgIngiXQ",
    ],
)
async def test_the_cursor_of_another_list_is_refused(db: Prisma, user_id: str, cursor: str) -> None:
    with pytest.raises(InvalidError) as caught:
        await list_graphs(db, user_id, limit=3, cursor=cursor)
    assert caught.value.problems[0].path == "cursor"

    if cursor != "MQ":
        with pytest.raises(InvalidError):
            await list_versions(db, user_id, new_id(), limit=3, cursor=cursor)


async def test_the_largest_graph_is_saved_at_once_and_reads_back(db: Prisma, user_id: str) -> None:
    graph = some_graph(nodes=10_000, links=50_000)

    started_at = time.perf_counter()
    await create_graph(db, user_id, graph)
    saved_at = time.perf_counter()
    loaded = await get_graph(db, user_id, graph.id)

    assert loaded == graph
    # Seconds; it takes a fifth of that on an idle machine.
    assert saved_at - started_at < 20
    print(f"saved in {saved_at - started_at:.2f} s, read in {time.perf_counter() - saved_at:.2f} s")
