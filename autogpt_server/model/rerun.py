"""Running an execution again while keeping results of it: which recorded ends the new execution takes over.  Pure.

A recorded end is kept only where a fresh wiring of the new execution is due to run that node with those same inputs.
So what is kept is a history that the new execution could have had by itself, whatever was edited, and replaying it
is what every executor does anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from autogpt_server.errors import HistoryDiffers, InvalidError, Problem
from autogpt_server.model.block import ERROR_PIN, INPUT_BLOCK
from autogpt_server.model.compiled import CompiledGraph
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.graph import Graph
from autogpt_server.model.pins import base_name
from autogpt_server.model.wiring import NodeEnd, StreamedOutput, Wiring


@dataclass(slots=True)
class Kept:
    """What is taken over, each beside the name that it had in the execution which recorded it."""

    #: By ordinal of the recorded node execution.
    ends: list[tuple[int, NodeEnd]] = field(default_factory=list[tuple[int, NodeEnd]])
    #: By number of the recorded output.
    outputs: list[tuple[int, StreamedOutput]] = field(default_factory=list[tuple[int, StreamedOutput]])


@dataclass(frozen=True, slots=True)
class Rerun:
    """What is to be run again.

    Without a node it is what failed and was not handled, what never ended, and what now has other inputs.  With one,
    it is that node and everything that its outputs lead to; what else was recorded is kept, and must fit.
    """

    #: What was executed, and what is now; often the same version.
    original: Graph
    graph: Graph
    compiled: CompiledGraph
    inputs: dict[str, Any]
    from_node_id: str | None
    max_node_executions: int


def keep(rerun: Rerun, records: Iterable[NodeEnd], streamed: Iterable[StreamedOutput] = ()) -> Kept:
    """Choose what a rerun takes over of what an execution recorded, in the order in which it happened.

    Raises:
        InvalidError: The graph has no such node, or an end that would have to be kept does not fit; names the first.
    """
    return _Keeping(rerun, list(records), list(streamed)).keep()


class _Keeping:
    def __init__(self, rerun: Rerun, records: list[NodeEnd], streamed: list[StreamedOutput]) -> None:
        self._rerun, self._records, self._streamed = rerun, records, streamed
        self._blocks_then = {node.id: node.block_name for node in rerun.original.nodes}
        self._blocks_now = {node.id: node.block_name for node in rerun.graph.nodes}
        handling = _handling(rerun.original) & _handling(rerun.graph)
        #: By ordinal, the ends that may be kept.
        self._good = {r.ordinal: r for r in records if _is_good(r, handling)}
        #: Nodes of which no further end is kept: one that lacks an end has none after it.
        self._again = self._nodes_to_run()
        # What followed on something that is not kept may not follow now, and that is nobody's mistake.
        lacking = {r.node_id for r in (*records, *streamed) if r.ordinal not in self._good}
        self._free = _reached(rerun.graph, lacking)
        self._wiring = Wiring(rerun.compiled, rerun.inputs, rerun.max_node_executions)
        self._wiring.start()

    def keep(self) -> Kept:
        kept = Kept()
        for item in sorted((*self._records, *self._streamed), key=_place):
            record = self._good.get(item.ordinal)
            if record is None:
                self._again.add(item.node_id)
            if record is None or item.node_id in self._again:
                continue
            try:
                self._check_block(record)
                if isinstance(item, NodeEnd):
                    kept.ends.append((item.ordinal, self._wiring.adopt(item)))
                else:
                    kept.outputs.append((item.number, self._wiring.adopt_streamed(record, item)))
            except HistoryDiffers as error:
                if item.node_id not in self._free:
                    self._refuse(item.node_id, error.reason)
                self._again.add(item.node_id)
        return kept

    def _check_block(self, record: NodeEnd) -> None:
        now, then = self._blocks_now.get(record.node_id), self._blocks_then.get(record.node_id)
        if now is not None and now != then:
            raise HistoryDiffers(record.sequence, f"its block was {then}")

    def _refuse(self, node_id: str, reason: str) -> None:
        """Refuse the rerun where a node was named, and everything before it was to be kept."""
        # An input block only passes on what the rerun was given; whether that matters, those after it tell.
        if self._rerun.from_node_id is None or self._blocks_now.get(node_id) == INPUT_BLOCK:
            return
        block = self._blocks_now.get(node_id)
        title = f"node {node_id}" if block is None else f"node {node_id} ({block})"
        again = "" if block is None else "run again from that node or one before it, or "
        raise InvalidError(
            "What is to be kept does not fit.",
            [
                Problem(
                    "from_node_id",
                    f"what {title} recorded cannot be kept: {reason}",
                    f"{again}leave from_node_id out to keep what fits",
                )
            ],
        )

    def _nodes_to_run(self) -> set[str]:
        first = self._rerun.from_node_id
        if first is None:
            return set()
        if first not in self._blocks_now:
            version = f"version {self._rerun.graph.version} of graph {self._rerun.graph.id}"
            raise InvalidError(
                "The rerun was refused.",
                [Problem("from_node_id", f"{version} has no node {first}", "name one of its nodes")],
            )
        # What the node led to then was made of what it gave then, also where it leads elsewhere now.
        return _reached(self._rerun.graph, _reached(self._rerun.original, {first}))


def _place(item: NodeEnd | StreamedOutput) -> tuple[int, int]:
    """Tell when something happened: of what was streamed, after how many ends."""
    return (item.sequence, 0) if isinstance(item, NodeEnd) else (item.after_sequence, item.number)


def _is_good(record: NodeEnd, handling: set[str]) -> bool:
    """Tell whether an end is a result: no failure that nothing handled, and none that came with the execution's end."""
    if record.status is ExecutionStatus.FAILED:
        return record.node_id in handling and bool(record.outputs) and record.outputs[-1][0] == ERROR_PIN
    return record.status is ExecutionStatus.COMPLETED


def _handling(graph: Graph) -> set[str]:
    """Tell of which nodes the graph says what follows on a failure."""
    return {link.source_id for link in graph.links if base_name(link.source_name) == ERROR_PIN}


def _reached(graph: Graph, node_ids: set[str]) -> set[str]:
    """Add everything that the outputs of some nodes lead to."""
    sinks: dict[str, list[str]] = {}
    for link in graph.links:
        sinks.setdefault(link.source_id, []).append(link.sink_id)
    reached, pending = set(node_ids), list(node_ids)
    while pending:
        for sink in sinks.get(pending.pop(), ()):
            if sink not in reached:
                reached.add(sink)
                pending.append(sink)
    return reached
