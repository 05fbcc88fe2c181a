"""The table of blocks, kept as the registry has them, so that graphs may refer to them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prisma import Prisma
from prisma.errors import UniqueViolationError
from prisma.models import AgentBlock

from autogpt_server.model.block import Block, BlockRegistry
from autogpt_server.model.jsonvalue import dumps

if TYPE_CHECKING:
    from prisma.types import AgentBlockCreateInput

log = logging.getLogger(__name__)

_ATTEMPTS = 3


async def sync_blocks(db: Prisma, registry: BlockRegistry) -> None:
    """Insert blocks that are new and update those that changed.  Safe to repeat, also by several processes at once.

    A block that the registry no longer has keeps its row: graphs may refer to it.  One that kept its id under a new
    name keeps its row too, and the nodes that use it follow.
    """
    for attempt in range(_ATTEMPTS):
        try:
            await _sync(db, registry)
            return
        except UniqueViolationError:
            # Another process inserted the same blocks meanwhile.
            if attempt == _ATTEMPTS - 1:
                raise


async def _sync(db: Prisma, registry: BlockRegistry) -> None:
    stored = await db.agentblock.find_many()
    by_id = {row.id: row for row in stored}
    by_name = {row.name: row for row in stored}
    new: list[AgentBlockCreateInput] = []
    changed: list[tuple[AgentBlock, AgentBlockCreateInput]] = []
    for block in registry:
        wanted = _row(block)
        row = by_id.get(block.id) or by_name.get(block.name)
        if row is None:
            new.append(wanted)
        elif any(getattr(row, field) != value for field, value in wanted.items()):
            changed.append((row, wanted))
    if not new and not changed:
        return
    async with db.batch_() as batch:
        for row, wanted in changed:
            batch.agentblock.update(where={"id": row.id}, data={**wanted})
        if new:
            batch.agentblock.create_many(data=[{**wanted} for wanted in new])
    log.info("blocks: %d new, %d changed", len(new), len(changed))


def _row(block: Block) -> AgentBlockCreateInput:
    return {
        "name": block.name,
        "id": block.id,
        "description": block.description,
        "inputSchema": dumps(block.input_schema),
        "outputSchema": dumps(block.output_schema),
    }
