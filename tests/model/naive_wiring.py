"""The wiring's rules again, slow and obvious, for comparing: lists that are searched, copies, no cursors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from autogpt_server.model.graph import Graph
from autogpt_server.model.wiring import NodeEnd, StreamedOutput


@dataclass
class Execution:
    ordinal: int
    node: str
    received: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] | None = None


class NaiveWiring:
    """Knows graphs of one block without inputs: starting nodes take their defaults."""

    def __init__(self, graph: Graph, limit: int) -> None:
        self.graph, self.limit = graph, limit
        self.links = sorted(graph.links, key=lambda link: link.id)
        self.executions: list[Execution] = []
        self.last: dict[tuple[str, str], Any] = {}
        #: By ordinal, how many outputs came before the end.
        self.streamed: dict[int, int] = {}
        self.is_over_limit = False
        self.first_failure: str | None = None
        for node in sorted(graph.nodes, key=lambda node: node.id):
            if not self._pins(node.id):
                self._freeze(self._open(node.id))

    def deliver(self, end: NodeEnd) -> None:
        if end.error is not None and self.first_failure is None and not self.is_over_limit:
            handled = any(k.source_id == end.node_id and k.source_name == "error" for k in self.links)
            self.first_failure = None if handled else end.node_id
        self._propagate(end.node_id, end.outputs[self.streamed.get(end.ordinal, 0) :])

    def deliver_streamed(self, output: StreamedOutput) -> None:
        self.streamed[output.ordinal] = self.streamed.get(output.ordinal, 0) + 1
        self._propagate(output.node_id, [(output.pin, output.value)])

    def _propagate(self, source: str, outputs: list[tuple[str, Any]]) -> None:
        for pin, value in outputs:
            for link in self.links:
                if link.source_id == source and not self.is_over_limit:
                    base, kind, step = (re.split(r"_([$#])_", link.source_name) + ["", ""])[:3]
                    if base != pin:
                        continue
                    if kind == "$" and (not isinstance(value, list) or int(step) >= len(value)):
                        continue
                    if kind == "#" and (not isinstance(value, dict) or step not in value):
                        continue
                    part = value if not kind else value[int(step)] if kind == "$" else value[step]
                    self._receive(link.sink_id, link.sink_name, part)

    def _receive(self, node: str, pin: str, value: Any) -> None:
        if self._is_static(node, pin):
            self.last[node, pin] = value
        if not self._is_static(node, pin) or self._is_all_static(node):
            lacking = [e for e in self._waiting(node) if pin not in e.received]
            if lacking:
                lacking[0].received[pin] = value
            else:
                execution = self._open(node)
                if execution is not None:
                    execution.received[pin] = value
        for execution in self._waiting(node):
            full = {p: self.last[node, p] for p in self._pins(node) if (node, p) in self.last} | execution.received
            if full.keys() == self._pins(node):
                execution.received = full
                self._freeze(execution)

    def _open(self, node: str) -> Execution | None:
        if len(self.executions) == self.limit:
            self.is_over_limit = True
            return None
        self.executions.append(Execution(len(self.executions), node))
        return self.executions[-1]

    def _freeze(self, execution: Execution | None) -> None:
        if execution is None:
            return
        defaults = next(node.input_default for node in self.graph.nodes if node.id == execution.node)
        inputs = {**defaults, **execution.received}
        # Parts that the plain value cannot hold stay under their own names.
        numbered = sorted((int(name[7:]), name) for name in inputs if name.startswith("rows_$_"))
        if numbered and isinstance(inputs.get("rows"), list | None):
            inputs["rows"] = (inputs.get("rows") or []) + [inputs.pop(name) for _, name in numbered]
        keyed = [name for name in inputs if name.startswith("fields_#_")]
        if keyed and isinstance(inputs.get("fields"), dict | None):
            inputs["fields"] = (inputs.get("fields") or {}) | {name[9:]: inputs.pop(name) for name in keyed}
        execution.inputs = inputs

    def _waiting(self, node: str) -> list[Execution]:
        return [e for e in self.executions if e.node == node and e.inputs is None]

    def _pins(self, node: str) -> set[str]:
        return {link.sink_name for link in self.links if link.sink_id == node}

    def _is_static(self, node: str, pin: str) -> bool:
        return all(link.is_static for link in self.links if (link.sink_id, link.sink_name) == (node, pin))

    def _is_all_static(self, node: str) -> bool:
        return all(link.is_static for link in self.links if link.sink_id == node)
