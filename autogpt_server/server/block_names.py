"""Which block a node of a stored graph uses, kept in memory: versions never change."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from autogpt_server.data.database import Database
from autogpt_server.data.graph_versions import load_version
from autogpt_server.model.kept import keep

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
            names = {node.id: node.block_name for node in graph.nodes}
        keep(self._names, key, names, _KEPT)
        return names
