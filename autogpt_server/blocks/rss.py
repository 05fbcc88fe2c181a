"""Reads a feed: RSS, Atom or RDF."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pydantic import Field

from autogpt_server.blocks.web_client import WebRequest, fetch
from autogpt_server.errors import BlockError
from autogpt_server.model import clock
from autogpt_server.model.block import AsyncBlockOutput, Block, BlockCategory, BlockContext, BlockSchema

_MAX_BYTES = 10 * 1024 * 1024


class ReadRSSFeedBlock(Block):
    id = "5ebe6768-8e5d-41e3-9134-1c7bd89a8d52"
    aliases = ("c6731acb-4105-4zp1-bc9b-03d0036h370g",)
    description = "Reads a feed once and yields its entries."
    categories = frozenset({BlockCategory.NETWORK, BlockCategory.INPUT})
    blocking = False

    class Input(BlockSchema):
        rss_url: str = Field(description="The address of the feed, http or https.")
        time_period: int | None = Field(
            default=None, ge=0, description="Only entries of the last so many minutes; all by default."
        )
        polling_rate: int | None = Field(default=None, description="Kept for exports: not used.")
        run_continuously: bool = Field(
            default=False, description="Kept for exports: the feed is read once; schedule the graph to read it again."
        )
        timeout_seconds: float = Field(default=30, gt=0, le=600, description="How long it may take.")

    class Output(BlockSchema):
        entry: dict[str, Any] = Field(
            description="One entry: title, link, description, author, categories, pub_date in ISO 8601 or null, id."
        )
        entries: list[dict[str, Any]] = Field(description="All entries.")

    test_input = {"rss_url": "{server}/feed.xml"}
    test_output = [("entry", dict), ("entries", list)]

    async def run(self, input_data: Input, context: BlockContext) -> AsyncBlockOutput:
        if input_data.run_continuously:
            context.log("the feed is read once; schedule the graph to read it again")
        request = WebRequest("GET", input_data.rss_url, timeout=input_data.timeout_seconds, max_bytes=_MAX_BYTES)
        response = await fetch(request, context.is_address_allowed)
        if response.status != 200:
            raise BlockError(
                f"{input_data.rss_url} answered with status {response.status}", response.retry_after_seconds
            )
        entries = await asyncio.to_thread(_parse, response.content)
        if input_data.time_period is not None:
            oldest = (clock.now() - timedelta(minutes=input_data.time_period)).isoformat()
            entries = [entry for entry in entries if (entry["pub_date"] or "") >= oldest]
        for entry in entries:
            yield "entry", entry
        yield "entries", entries


def _parse(content: bytes) -> list[dict[str, Any]]:
    # Loaded at first use: it is large.
    import feedparser

    # As a file: bytes and texts it would take for a path or an address to open, if they look like one.
    parse = cast(Callable[[io.BytesIO], Any], feedparser.parse)  # pyright: ignore[reportUnknownMemberType]
    feed = parse(io.BytesIO(content))
    if not feed.get("version") and not feed.entries:
        raise BlockError(f"this is no feed: {feed.get('bozo_exception', 'unknown format')}")
    return [_entry(entry) for entry in feed.entries]


def _entry(entry: Any) -> dict[str, Any]:
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    return {
        "title": entry.get("title", ""),
        "link": entry.get("link", ""),
        "description": entry.get("summary", ""),
        "pub_date": datetime(*moment[:6], tzinfo=UTC).isoformat() if moment else None,
        "author": entry.get("author", ""),
        "categories": [tag["term"] for tag in entry.get("tags", []) if tag.get("term")],
        "id": entry.get("id", ""),
    }
