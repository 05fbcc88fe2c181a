"""What a transaction ended, counted for the metrics once that is durable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import EXECUTIONS, NODE_EXECUTIONS


@dataclass(slots=True)
class Ends:
    """Ends of executions and of node executions, by final status."""

    executions: Counter[str] = field(default_factory=Counter[str])
    nodes: Counter[str] = field(default_factory=Counter[str])

    def add(self, other: Ends) -> None:
        self.executions.update(other.executions)
        self.nodes.update(other.nodes)

    def count(self) -> None:
        """Count them; call after the commit."""
        for status, number in self.executions.items():
            counting.add(EXECUTIONS, number, status)
        for status, number in self.nodes.items():
            counting.add(NODE_EXECUTIONS, number, status)
