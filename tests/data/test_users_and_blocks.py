from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from prisma import Prisma

from autogpt_server.data.blocks import sync_blocks
from autogpt_server.data.graphs import create_graph, get_graph
from autogpt_server.data.users import ensure_default_user
from autogpt_server.model.block import Block, BlockContext, BlockRegistry, BlockSchema
from autogpt_server.model.graph import Graph, Node
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id


def make_block(name: str, block_id: str, description: str = "") -> type[Block]:
    class Pins(BlockSchema):
        value: int = 0

    def run(self: Block, input_data: Any, context: BlockContext) -> Iterator[tuple[str, Any]]:
        yield "value", input_data.value

    members = {"id": block_id, "description": description, "Input": Pins, "Output": Pins, "run": run}
    return type(name, (Block,), members)


async def test_the_default_user_is_created_once(db: Prisma) -> None:
    await asyncio.gather(*(ensure_default_user(db) for _ in range(5)))
    await ensure_default_user(db)

    user = await db.user.find_unique_or_raise(where={"id": DEFAULT_USER_ID})
    assert user.timezone == "UTC"
    assert await db.user.count(where={"id": DEFAULT_USER_ID}) == 1


async def test_new_blocks_are_stored_and_changed_ones_updated(db: Prisma) -> None:
    first, second = new_id(), new_id()
    await sync_blocks(db, BlockRegistry([make_block("FirstBlock", first, "old")]))

    await sync_blocks(db, BlockRegistry([make_block("FirstBlock", first, "new"), make_block("SecondBlock", second)]))

    rows = await db.agentblock.find_many(where={"id": {"in": [first, second]}}, order={"name": "asc"})
    assert [(row.name, row.description) for row in rows] == [("FirstBlock", "new"), ("SecondBlock", "")]
    assert '"value"' in rows[0].inputSchema


async def test_unchanged_blocks_are_left_alone(db: Prisma) -> None:
    block = make_block("QuietBlock", new_id())
    await sync_blocks(db, BlockRegistry([block]))
    before = await db.agentblock.find_unique_or_raise(where={"id": block.id})

    await sync_blocks(db, BlockRegistry([block]))

    assert await db.agentblock.find_unique_or_raise(where={"id": block.id}) == before


async def test_several_processes_may_store_the_blocks_at_once(db: Prisma) -> None:
    registry = BlockRegistry([make_block(f"Parallel{i}Block", new_id()) for i in range(30)])

    await asyncio.gather(*(sync_blocks(db, registry) for _ in range(4)))

    assert await db.agentblock.count(where={"name": {"startswith": "Parallel"}}) == 30


async def test_a_block_that_is_renamed_keeps_its_nodes(db: Prisma) -> None:
    await ensure_default_user(db)
    block_id = new_id()
    await sync_blocks(db, BlockRegistry([make_block("OldNameBlock", block_id)]))
    graph = Graph(id=new_id(), name="g", nodes=(Node(id="n", block_id=block_id, block_name="OldNameBlock"),))
    await create_graph(db, DEFAULT_USER_ID, graph)

    await sync_blocks(db, BlockRegistry([make_block("NewNameBlock", block_id)]))

    assert (await get_graph(db, DEFAULT_USER_ID, graph.id)).nodes[0].block_name == "NewNameBlock"


async def test_a_block_that_is_gone_keeps_its_row(db: Prisma) -> None:
    block = make_block("GoneBlock", new_id())
    await sync_blocks(db, BlockRegistry([block]))

    await sync_blocks(db, BlockRegistry([]))

    assert await db.agentblock.find_unique(where={"id": block.id}) is not None
