"""Blocks: what there is, and executing a single one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from autogpt_server.data.pages import Page, bad_cursor, decode_cursor, encode_cursor
from autogpt_server.model.principal import Scope
from autogpt_server.server.bodies import InputsBody, documented
from autogpt_server.server.deps import MAX_PAGE, Cursor, Limit, ServicesDep, UserId
from autogpt_server.server.needs import needs
from autogpt_server.server.presence import while_connected
from autogpt_server.server.shapes import BlockShape, Listing, by_pin

router = APIRouter(prefix="/blocks", tags=["blocks"])


@router.get("")
async def list_blocks(services: ServicesDep, limit: Limit = MAX_PAGE, cursor: Cursor = None) -> Listing[BlockShape]:
    """List the blocks by name."""
    after = "" if cursor is None else decode_cursor(cursor)
    if not isinstance(after, str):
        raise bad_cursor()
    blocks = sorted((b for b in services.registry if b.name > after), key=lambda block: block.name)
    items = [BlockShape.of(block) for block in blocks[:limit]]
    return Listing[BlockShape].of(Page(items, encode_cursor(items[-1].name) if len(blocks) > limit else None))


@router.get("/{name}")
async def get_block(services: ServicesDep, name: str) -> BlockShape:
    """Get a block by its name, its id, or another id under which exports know it."""
    return BlockShape.of(services.registry.get(name))


@router.post("/{name}/execute", openapi_extra=documented({"type": "object"}, required=False))
@needs(Scope.EXECUTE)
async def execute_block(
    request: Request, services: ServicesDep, user_id: UserId, name: str, inputs: InputsBody
) -> dict[str, list[Any]]:
    """Execute one block with the given inputs, within a minute, and get its values by pin.

    A block that fails, never ends or takes its process with it says so on the pin `error`.  Nothing is recorded.
    A client that hangs up stops the block.  Four blocks are executed so at the same time; when none of them ends
    within two seconds, a further request is answered with 503.
    """
    call = services.block_calls.call(user_id, services.registry.get(name), inputs)
    return by_pin(await while_connected(request.receive, call))
