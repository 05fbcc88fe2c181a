"""The state machine of one graph execution: which node may run with what, and where its outputs go.

Pure: the state after some recorded ends depends on the compiled graph, the inputs and those ends alone, so that
replaying them in another process leads to the same state.  Nothing here runs a block, waits or writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from autogpt_server.errors import HistoryDiffers
from autogpt_server.model.block import ERROR_PIN, Block
from autogpt_server.model.compiled import CompiledGraph, CompiledNode
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.jsonvalue import is_same
from autogpt_server.model.pins import NOTHING, base_name, merge_inputs, select

#: The pins by which output blocks name and give a value, and by which input blocks take one.
_NAME_PIN, _RESULT_PIN, _VALUE_PIN = "name", "output", "value"


@dataclass(slots=True)
class ReadyNode:
    """A node execution that may run.  Its inputs are frozen; nobody changes them."""

    ordinal: int
    node: int
    node_id: str
    block: Block
    inputs: dict[str, Any]


@dataclass(slots=True)
class NodeEnd:
    """The end of a node execution, as it is recorded.  ``outputs`` of a failed one hold the error as the last."""

    ordinal: int
    node_id: str
    sequence: int
    status: ExecutionStatus
    inputs: dict[str, Any]
    outputs: list[tuple[str, Any]]
    error: str | None
    #: How many of the outputs, from the first, were delivered before as streamed ones.
    streamed: int = 0


@dataclass(slots=True)
class StreamedOutput:
    """What a streaming block yielded while it runs, as it is recorded.

    It is delivered after all ends up to ``after_sequence``, before the next one, and in the order of the numbers.
    """

    number: int
    after_sequence: int
    ordinal: int
    node_id: str
    pin: str
    value: Any


@dataclass(slots=True)
class _Waiting:
    """A node execution that lacks values.  ``missing`` counts the linked pins that are not static."""

    ordinal: int
    values: list[Any]
    missing: int


class _Sink:
    """What one node has received so far.

    Executions of a node are numbered in the order of their opening.  Every value of a pin goes to the oldest one
    that lacks the pin, so the k-th value of a pin belongs to number k: one cursor per slot finds it.  For the same
    reason they become ready in the order of their numbers.  Only where all links are static may a cursor fall behind;
    then every static pin has had a value, and nothing ever waits again.
    """

    __slots__ = ("cursors", "first", "is_running", "lacking_statics", "last", "opened", "ready", "waiting")

    def __init__(self, slots: int, statics: int) -> None:
        self.cursors = [0] * slots
        self.last: list[Any] = [NOTHING] * slots
        #: Static pins that never had a value.
        self.lacking_statics = statics
        self.opened = 0
        #: Number of the oldest waiting execution.
        self.first = 0
        self.waiting: dict[int, _Waiting] = {}
        self.ready: deque[ReadyNode] = deque()
        self.is_running = False


class Wiring:
    """One execution of a graph.

    The owner calls ``start``, then ``replay`` with what is recorded, and then again and again: ``take_next`` for
    what may run, ``end`` when it has ended, ``deliver`` when the end may have consequences; and where a block streams,
    ``stream`` for what it yields, and ``deliver_streamed``.  Nothing left to take and nothing running means that the
    execution has ended; ``outcome`` tells how.

    Args:
        graph: What is executed.
        inputs: Values by input name, or by pin where the graph has no input blocks.
        max_node_executions: Node executions that may be opened.  One more fails the execution: nothing else starts,
            what runs may end.
    """

    def __init__(self, graph: CompiledGraph, inputs: dict[str, Any], max_node_executions: int) -> None:
        self.graph, self._inputs, self._limit = graph, inputs, max_node_executions
        # Created with a node's first value: most executions of a large graph touch a part of it.
        self._sinks: list[_Sink | None] = [None] * len(graph.nodes)
        #: Nodes that may have something to start.  They take turns, so a long queue of one holds up no other.
        self._turns: deque[int] = deque()
        self._running: dict[int, ReadyNode] = {}
        self._undelivered: deque[NodeEnd | StreamedOutput] = deque()
        #: By ordinal, what node executions have streamed that have not ended.
        self._streamed: dict[int, list[tuple[str, Any]]] = {}
        self._stream_number = 0
        self._opened = 0
        self._sequence = 0
        self._failed = 0
        self._error: str | None = None
        self._is_over_limit = False
        self._outputs: dict[str, list[Any]] = {}

    def start(self) -> None:
        """Open the executions of the starting nodes, in the order of their ids."""
        for position in self.graph.starting:
            node = self.graph.nodes[position]
            ordinal = self._next_ordinal(node)
            if ordinal is None:
                return
            self._make_ready(position, self._sink(position), ordinal, self._starting_inputs(node))

    def take_next(self) -> ReadyNode | None:
        """Take a node execution that may run now, or None.

        Those of one node are taken one at a time, in the order in which they became ready.
        """
        while self._turns and not self._is_over_limit:
            sink = self._sink(self._turns.popleft())
            if sink.ready and not sink.is_running:
                node = sink.ready.popleft()
                sink.is_running = True
                self._running[node.ordinal] = node
                return node
        return None

    @property
    def has_ready(self) -> bool:
        """Whether ``take_next`` has something to give."""
        sinks = (self._sink(position) for position in self._turns)
        return not self._is_over_limit and any(sink.ready and not sink.is_running for sink in sinks)

    def end(
        self, ordinal: int, status: ExecutionStatus, outputs: Iterable[tuple[str, Any]], error: str | None = None
    ) -> NodeEnd:
        """Give the end of a taken node execution its sequence, from 1 without gaps.

        Outputs go nowhere yet: that is ``deliver``.  The next execution of the node may be taken at once.

        Args:
            ordinal: Of the node execution.
            status: COMPLETED, FAILED, or TERMINATED, which has no consequences.
            outputs: (pin, value) pairs as they were yielded, without those that were streamed.
            error: Why it failed; its output ``error``.

        Raises:
            KeyError: It was not taken, or has ended already.
        """
        node = self._running.pop(ordinal)
        pairs = self._streamed.pop(ordinal, []) if self._streamed else []
        streamed = len(pairs)
        pairs.extend(outputs)
        if status is ExecutionStatus.FAILED:
            pairs.append((ERROR_PIN, error or ""))
        self._sequence += 1
        end = NodeEnd(ordinal, node.node_id, self._sequence, status, node.inputs, pairs, error, streamed)
        self._release(node)
        if status is not ExecutionStatus.TERMINATED:
            self._undelivered.append(end)
        return end

    def deliver(self, end: NodeEnd) -> None:
        """Carry the outputs of an end along the links: in yield order, and each in the order of the links' ids.

        Ends are delivered in the order of their sequences, whatever the order in which they were committed.

        Raises:
            ValueError: An earlier end was not delivered yet, or this one already was.
        """
        if end.status is ExecutionStatus.TERMINATED:
            return
        if not self._undelivered or self._undelivered[0] is not end:
            raise ValueError(f"end {end.sequence} is not the next to be delivered")
        self._undelivered.popleft()
        node = self.graph.nodes[self.graph.positions[end.node_id]]
        if end.status is ExecutionStatus.FAILED:
            self._failed += 1
            if not node.handles_error:
                self._fail(f"node {node.id} ({node.block.name}) failed: {end.error}")
        if node.is_output:
            self._collect(end)
        self._propagate(node, end.outputs[end.streamed :] if end.streamed else end.outputs)

    def streamed(self, ordinal: int) -> int:
        """Tell how many outputs a node execution that has not ended has streamed; a rerun leaves that many out."""
        return len(self._streamed.get(ordinal, ()))

    def stream(self, ordinal: int, pin: str, value: Any) -> StreamedOutput:
        """Give what a taken node execution has yielded its number, from 1 without gaps.

        It goes nowhere yet: that is ``deliver_streamed``, before the delivery of any end that comes after this.

        Raises:
            KeyError: The node execution was not taken, or has ended already.
        """
        node = self._running[ordinal]
        self._stream_number += 1
        output = StreamedOutput(self._stream_number, self._sequence, ordinal, node.node_id, pin, value)
        self._streamed.setdefault(ordinal, []).append((pin, value))
        self._undelivered.append(output)
        return output

    def deliver_streamed(self, output: StreamedOutput) -> None:
        """Carry a streamed output along the links.

        Raises:
            ValueError: An earlier end or output was not delivered yet, or this one already was.
        """
        if not self._undelivered or self._undelivered[0] is not output:
            raise ValueError(f"streamed output {output.number} is not the next to be delivered")
        self._undelivered.popleft()
        self._propagate(self.graph.nodes[self.graph.positions[output.node_id]], [(output.pin, output.value)])

    def replay(self, records: Iterable[NodeEnd], streamed: Iterable[StreamedOutput] = ()) -> None:
        """Apply recorded ends and streamed outputs, in their order, to an execution that has only been started.

        Raises:
            HistoryDiffers: A record is missing, or is not what graph, inputs and the records before it lead to.
        """
        outputs = deque(sorted(streamed, key=lambda output: output.number))
        self._replay_streamed(outputs)
        for record in sorted(records, key=lambda record: record.sequence):
            self._take_recorded(record)
            self._sequence += 1
            self._undelivered.append(record)
            self.deliver(record)
            self._replay_streamed(outputs)
        if outputs:
            raise HistoryDiffers(
                self._sequence + 1, f"its record is missing; streamed output {outputs[0].number} follows it"
            )

    def adopt(self, record: NodeEnd) -> NodeEnd:
        """Apply an end that another execution recorded to the next execution of its node here.

        Returns:
            The end as one of this execution.

        Raises:
            HistoryDiffers: No execution of the node is due, or one with other inputs; nothing was changed.
        """
        node = self._adoptable(record)
        self._ready_of(record.node_id, 0).popleft()
        self._sequence += 1
        streamed = len(self._streamed.pop(node.ordinal, ()))
        end = replace(record, ordinal=node.ordinal, sequence=self._sequence, inputs=node.inputs, streamed=streamed)
        self._undelivered.append(end)
        self.deliver(end)
        return end

    def adopt_streamed(self, record: NodeEnd, output: StreamedOutput) -> StreamedOutput:
        """Apply what another execution streamed to the next execution of its node here.

        Args:
            record: The end that followed it; it is to be adopted, too.
            output: What was streamed.

        Raises:
            HistoryDiffers: As ``adopt``.
        """
        node = self._adoptable(record)
        self._stream_number += 1
        adopted = replace(output, number=self._stream_number, after_sequence=self._sequence, ordinal=node.ordinal)
        self._streamed.setdefault(node.ordinal, []).append((output.pin, output.value))
        self._undelivered.append(adopted)
        self.deliver_streamed(adopted)
        return adopted

    def outcome(self) -> tuple[ExecutionStatus, str | None]:
        """Tell how the execution ends as things stand, and why if it failed: the first reason."""
        if self._error is not None:
            return ExecutionStatus.FAILED, self._error
        return ExecutionStatus.COMPLETED, None

    def outputs(self) -> dict[str, list[Any]]:
        """Return the values of the output blocks by name, in the order of their ends."""
        return self._outputs

    def stats(self) -> dict[str, Any]:
        """Count ended and failed node executions, and received values that wait for others in vain."""
        waiting = (w for sink in self._sinks if sink is not None for w in sink.waiting.values())
        return {
            "node_executions": self._sequence,
            "failed": self._failed,
            "unconsumed_values": sum(sum(value is not NOTHING for value in w.values) for w in waiting),
        }

    def _starting_inputs(self, node: CompiledNode) -> dict[str, Any]:
        if self.graph.has_inputs:
            name = node.defaults.get(_NAME_PIN)
            if not node.is_input or not isinstance(name, str) or name not in self._inputs:
                return node.resolved_defaults
            return {**node.resolved_defaults, _VALUE_PIN: self._inputs[name]}
        pins = node.block.Input.model_fields
        given = {name: value for name, value in self._inputs.items() if base_name(name) in pins}
        return merge_inputs(node.defaults, given) if given else node.resolved_defaults

    def _propagate(self, node: CompiledNode, outputs: Iterable[tuple[str, Any]]) -> None:
        routes = node.routes
        if not routes:
            return
        for pin, value in outputs:
            for steps, sink, slot in routes.get(pin, ()):
                if self._is_over_limit:
                    return
                part = select(value, steps) if steps else value
                if part is not NOTHING:
                    self._receive(sink, slot, part)

    def _receive(self, position: int, slot: int, value: Any) -> None:
        """Put a value into the oldest waiting execution that lacks the pin, opening one where needed."""
        node, sink = self.graph.nodes[position], self._sink(position)
        if node.only_pin is not None:
            ordinal = self._next_ordinal(node)
            if ordinal is not None:
                self._make_ready(position, sink, ordinal, {**node.defaults, node.only_pin: value})
            return
        is_static = node.is_static[slot]
        if is_static:
            if sink.last[slot] is NOTHING:
                sink.lacking_statics -= 1
            sink.last[slot] = value
        if not is_static or node.static_count == len(node.pins):
            number = sink.cursors[slot]
            waiting = sink.waiting.get(number) or self._open(node, sink)
            if waiting is None:
                return
            sink.cursors[slot] = number + 1
            waiting.values[slot] = value
            waiting.missing -= not is_static
        self._settle(position, node, sink)

    def _open(self, node: CompiledNode, sink: _Sink) -> _Waiting | None:
        ordinal = self._next_ordinal(node)
        if ordinal is None:
            return None
        waiting = _Waiting(ordinal, [NOTHING] * len(node.pins), len(node.pins) - node.static_count)
        sink.waiting[sink.opened] = waiting
        sink.opened += 1
        return waiting

    def _settle(self, position: int, node: CompiledNode, sink: _Sink) -> None:
        """Freeze every waiting execution that lacks nothing any more, oldest first."""
        if sink.lacking_statics:
            return
        while (waiting := sink.waiting.get(sink.first)) is not None and not waiting.missing:
            del sink.waiting[sink.first]
            sink.first += 1
            received = dict(zip(node.pins, waiting.values, strict=True))
            if node.static_count:
                for pin, last in zip(node.pins, sink.last, strict=True):
                    if received[pin] is NOTHING:
                        received[pin] = last
            inputs = merge_inputs(node.defaults, received) if node.has_dynamic else {**node.defaults, **received}
            self._make_ready(position, sink, waiting.ordinal, inputs)

    def _make_ready(self, position: int, sink: _Sink, ordinal: int, inputs: dict[str, Any]) -> None:
        node = self.graph.nodes[position]
        sink.ready.append(ReadyNode(ordinal, position, node.id, node.block, inputs))
        if len(sink.ready) == 1 and not sink.is_running:
            self._turns.append(position)

    def _release(self, node: ReadyNode) -> None:
        sink = self._sink(node.node)
        sink.is_running = False
        if sink.ready:
            self._turns.append(node.node)

    def _next_ordinal(self, node: CompiledNode) -> int | None:
        if self._opened >= self._limit:
            self._is_over_limit = True
            self._fail(
                f"node {node.id} ({node.block.name}) would exceed the limit of {self._limit} node executions; "
                "does a loop never end?"
            )
            return None
        self._opened += 1
        return self._opened - 1

    def _sink(self, position: int) -> _Sink:
        sink = self._sinks[position]
        if sink is None:
            node = self.graph.nodes[position]
            sink = self._sinks[position] = _Sink(len(node.pins), node.static_count)
        return sink

    def _collect(self, end: NodeEnd) -> None:
        name = str(end.inputs.get(_NAME_PIN, ""))
        values = [value for pin, value in end.outputs if pin == _RESULT_PIN]
        if values:
            self._outputs.setdefault(name, []).extend(values)

    def _fail(self, reason: str) -> None:
        if self._error is None:
            self._error = reason

    def _replay_streamed(self, outputs: deque[StreamedOutput]) -> None:
        """Apply the streamed outputs that come before the next end."""
        while outputs and outputs[0].after_sequence <= self._sequence:
            output = outputs.popleft()
            self._stream_number += 1
            if (output.number, output.after_sequence) != (self._stream_number, self._sequence):
                raise HistoryDiffers(self._sequence, f"streamed output {self._stream_number} is missing or misplaced")
            position = self.graph.positions.get(output.node_id)
            ready = None if position is None else self._sink(position).ready
            if not ready or ready[0].ordinal != output.ordinal:
                where = f"execution {output.ordinal} of node {output.node_id}"
                raise HistoryDiffers(self._sequence, f"{where} cannot have streamed output {output.number}")
            self._streamed.setdefault(output.ordinal, []).append((output.pin, output.value))
            self._undelivered.append(output)
            self.deliver_streamed(output)

    def _take_recorded(self, record: NodeEnd) -> None:
        """Take the ready node execution that a record is about."""
        expected = self._sequence + 1
        if record.sequence != expected:
            raise HistoryDiffers(expected, f"its record is missing or doubled; the next one has {record.sequence}")
        where = f"execution {record.ordinal} of node {record.node_id}"
        ready = self._ready_of(record.node_id, expected)
        if not ready or ready[0].ordinal != record.ordinal:
            due = f"execution {ready[0].ordinal}" if ready else "none"
            raise HistoryDiffers(expected, f"{where} cannot have ended; due there is {due}")
        self._check_inputs(record, ready.popleft().inputs, expected, where)
        streamed = self._streamed.pop(record.ordinal, [])
        if not is_same([list(pair) for pair in streamed], [list(pair) for pair in record.outputs[: len(streamed)]]):
            raise HistoryDiffers(expected, f"{where} has other outputs than it had streamed")
        record.streamed = len(streamed)

    def _adoptable(self, record: NodeEnd) -> ReadyNode:
        sequence = self._sequence + 1
        ready = self._ready_of(record.node_id, sequence)
        if not ready:
            raise HistoryDiffers(sequence, "it does not receive what it received then")
        self._check_inputs(record, ready[0].inputs, sequence, "it")
        return ready[0]

    def _ready_of(self, node_id: str, sequence: int) -> deque[ReadyNode]:
        position = self.graph.positions.get(node_id)
        if position is None:
            raise HistoryDiffers(sequence, f"the graph has no node {node_id}")
        return self._sink(position).ready

    @staticmethod
    def _check_inputs(record: NodeEnd, inputs: dict[str, Any], sequence: int, where: str) -> None:
        if not is_same(inputs, record.inputs):
            names = sorted(inputs.keys() | record.inputs.keys())
            differing = [n for n in names if not is_same(inputs.get(n, NOTHING), record.inputs.get(n, NOTHING))]
            raise HistoryDiffers(sequence, f"{where} has other inputs on {', '.join(differing)}")
