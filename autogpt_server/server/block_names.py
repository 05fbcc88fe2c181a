"""Which block a node of a stored graph uses, kept in memory: versions never change."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from autogpt_server.data.database import Database
from autogpt_server.data.graph_versions import load_version

#: Graph versions that are kept.
_KEPT = 128

Names = dict[str, str]


class BlockNames:
    """Looks up block names by node id.  For one event loop."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._names: OrderedDict[tuple[str, int], Names] = OrderedDict()

    async def of(self, graph_id: str, version: int) -> Names:
        """Return node id -> block name for a graph version, also of a deleted graph.

        Raises:
            GraphNotFound: There is none.
        """
        key = (graph_id, version)
        names = self._names.get(key)
        if names is None:
            graph = await asyncio.to_thread(load_version, self._db, graph_id, version)
            names = self._names[key] = {node.id: node.block_name for node in graph.nodes}
            if len(self._names) > _KEPT:
                self._names.popitem(last=False)
        else:
            self._names.move_to_end(key)
        return names
