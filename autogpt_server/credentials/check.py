"""Refuses an execution or a schedule whose credentials are not its user's, before anything is accepted."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.errors import Problem
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.credential_inputs import credential_inputs
from autogpt_server.model.credentials import CredentialsPin
from autogpt_server.model.graph import Graph
from autogpt_server.model.kept import keep
from autogpt_server.model.suggestions import as_path

#: Graph versions whose inputs are kept in memory.
_KEPT = 1000


class CredentialsCheck:
    """Checks inputs that lead to pins for credentials.  What comes to a pin in another way is checked when it runs.

    Args:
        registry: The blocks that graphs use.
        store: Knows whose credentials are whose.
    """

    def __init__(self, registry: BlockRegistry, store: CredentialStore) -> None:
        self._registry, self._store = registry, store
        self._inputs: OrderedDict[tuple[str, int], dict[str, CredentialsPin]] = OrderedDict()

    def inputs_of(self, graph: Graph) -> dict[str, CredentialsPin]:
        """Tell which inputs of a graph take credentials; most graphs have none.  Quick."""
        key = graph.id, graph.version
        found = self._inputs.get(key)
        if found is None:
            found = credential_inputs(graph, self._registry)
        keep(self._inputs, key, found, _KEPT)
        return found

    def problems(self, user_id: str, graph: Graph, inputs: list[tuple[str, dict[str, Any]]]) -> list[Problem]:
        """Tell what is wrong with the credentials among inputs of executions.  Blocking.

        Args:
            user_id: Who executes.
            graph: What.
            inputs: Of each execution, after the path at which they stand.
        """
        pins = self.inputs_of(graph)
        meant = {
            f"{path}.{as_path(name)}" if path else as_path(name): (values[name], pin)
            for path, values in inputs
            for name, pin in pins.items()
            if values.get(name) is not None
        }
        return self._store.check(user_id, meant) if meant else []
