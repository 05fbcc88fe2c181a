"""Graph versions, loaded and compiled once per process.  A version never changes, so nothing goes stale."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from autogpt_server.data.database import Database
from autogpt_server.data.graph_versions import load_version
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.compiled import CompiledGraph

#: Nodes of all kept graphs together; the least recently used ones go first.
_KEPT_NODES = 300_000


class CompiledGraphs:
    """Keeps compiled graph versions by (id, version)."""

    def __init__(self, database: Database, registry: BlockRegistry) -> None:
        self._db, self._registry = database, registry
        self._kept: OrderedDict[tuple[str, int], asyncio.Task[CompiledGraph]] = OrderedDict()

    def find(self, graph_id: str, version: int) -> CompiledGraph | None:
        """Return a version that is compiled already, or None."""
        key = (graph_id, version)
        task = self._kept.get(key)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        self._kept.move_to_end(key)
        return task.result()

    async def get(self, graph_id: str, version: int) -> CompiledGraph:
        """Return a compiled version.

        Raises:
            GraphNotFound, BlockNotFound: It is not stored, or uses a block that this process does not know.
            Unavailable: The database is away.
        """
        key = (graph_id, version)
        task = self._kept.get(key)
        if task is None:
            task = self._kept[key] = asyncio.create_task(self._load(*key))
        self._kept.move_to_end(key)
        try:
            # Shielded: whoever stops waiting must not take it from the others.
            compiled = await asyncio.shield(task)
        except Exception:
            self._kept.pop(key, None)
            raise
        self._shrink()
        return compiled

    async def _load(self, graph_id: str, version: int) -> CompiledGraph:
        return await asyncio.to_thread(
            lambda: CompiledGraph.compile(load_version(self._db, graph_id, version), self._registry)
        )

    def _shrink(self) -> None:
        sizes = {k: len(t.result().nodes) for k, t in self._kept.items() if t.done() and t.exception() is None}
        total = sum(sizes.values())
        for key in list(sizes)[:-1]:
            if total <= _KEPT_NODES:
                return
            total -= sizes[key]
            del self._kept[key]
