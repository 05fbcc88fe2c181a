"""What the REST interface answers.  Clients rely on these fields; more may come beside them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from autogpt_server.data.executions import NodeChange, read_logs
from autogpt_server.data.pages import Page
from autogpt_server.errors import Problem
from autogpt_server.model.block import Block
from autogpt_server.model.execution import ExecutionStatus, GraphExecution, LogEntry, NodeExecution, NodeOutput, Outputs
from autogpt_server.model.graph import Graph
from autogpt_server.model.jsonvalue import dumps, loads, written
from autogpt_server.server.block_names import Names

T = TypeVar("T")


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class Listing(Shape, Generic[T]):
    """A page of a list."""

    items: list[T]
    next_cursor: str | None = Field(description="Leads to the next page; null on the last one.")

    @classmethod
    def of(cls, page: Page[T]) -> Self:
        return cls(items=page.items, next_cursor=page.next_cursor)


class ProblemItem(Shape):
    path: str = Field(description="The place in the input, as its author wrote it.")
    message: str
    fix: str | None = None


class ProblemAnswer(Shape):
    """Every error is answered with this (RFC 9457)."""

    type: str = Field(description="Stable: what kind of problem this is.")
    title: str
    status: int
    detail: str
    errors: list[ProblemItem] = Field(description="Every single problem that was found.")


class BlockShape(Shape):
    """A block: its input and output pins are the properties of the two schemas."""

    id: str
    name: str
    description: str
    categories: list[str]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    static_output: bool = Field(description="Links that leave it keep their last value.")
    pure: bool = Field(description="It has no effect outside.")

    @classmethod
    def of(cls, block: Block) -> Self:
        return cls(
            id=block.id,
            name=block.name,
            description=block.description,
            categories=sorted(block.categories),
            input_schema=block.input_schema,
            output_schema=block.output_schema,
            static_output=block.static_output,
            pure=block.pure,
        )


class StoredGraph(Graph):
    """A graph as it was stored, and what was ignored in the document that it came from."""

    warnings: list[ProblemItem] = []

    @classmethod
    def of(cls, graph: Graph, warnings: tuple[Problem, ...]) -> Self:
        items = [ProblemItem(path=w.path, message=w.message, fix=w.fix) for w in warnings]
        return cls(**dict(graph), warnings=items)


class Accepted(Shape):
    id: str
    status: ExecutionStatus


class AcceptedBatch(Shape):
    ids: list[str] = Field(description="In the order of the inputs.")


class NodeExecutionShape(Shape):
    id: str
    node_id: str
    block_name: str
    sequence: int | None = Field(description="Its place in the order of ends; null while it runs.")
    status: ExecutionStatus
    input_data: dict[str, Any]
    output_data: dict[str, list[Any]] = Field(description="Values by pin, in the order they were yielded.")
    error: str | None
    attempt: int = Field(description="Of the execution, when this was last written.")
    tries: int = Field(description="Runs by the node's retry policy.")
    logs: tuple[LogEntry, ...] = Field(description="What the block printed and logged, bounded.")
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, node: NodeExecution, names: Names) -> Self:
        return cls(
            id=node.id,
            node_id=node.node_id,
            block_name=names.get(node.node_id, ""),
            sequence=node.sequence,
            status=node.status,
            input_data=node.input_data,
            output_data=by_pin(node.output_data),
            error=node.error,
            attempt=node.attempt,
            tries=node.tries,
            logs=node.logs,
            queued_at=node.queued_at,
            started_at=node.started_at,
            ended_at=node.ended_at,
        )


class ExecutionShape(Shape):
    id: str
    graph_id: str
    graph_version: int
    status: ExecutionStatus
    inputs: dict[str, Any]
    outputs: dict[str, list[Any]] = Field(description="Values by output name, in the order they came.")
    error: str | None
    attempt: int = Field(description="How often an executor took it up.")
    deaths: int = Field(description="How often an executor died while it ran code of this execution.")
    stats: dict[str, Any]
    revision: int = Field(description="Raised by every change of it or of its node executions.")
    parent_execution_id: str | None = Field(description="The execution that this one is a part of.")
    priority: int
    rerun_of_id: str | None = Field(description="The execution whose results this one has taken over.")
    rerun_from_node_id: str | None = Field(description="The node from which on it runs that one again.")
    schedule_id: str | None = Field(description="The schedule that started it.")
    scheduled_at: datetime | None = Field(description="For which of its due times; null where it was run now.")
    stop_requested_at: datetime | None
    pause_requested_at: datetime | None = Field(description="Null where no pause is wanted.")
    paused_seconds: float = Field(description="Time spent PAUSED before the last resume; no time limit counts it.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, execution: GraphExecution, **more: Any) -> Self:
        return cls(
            id=execution.id,
            graph_id=execution.graph_id,
            graph_version=execution.graph_version,
            status=execution.status,
            inputs=execution.inputs,
            outputs=execution.outputs,
            error=execution.error,
            attempt=execution.attempt,
            deaths=execution.deaths,
            stats=execution.stats,
            revision=execution.revision,
            parent_execution_id=execution.parent_execution_id,
            priority=execution.priority,
            rerun_of_id=execution.rerun_of_id,
            rerun_from_node_id=execution.rerun_from_node_id,
            schedule_id=execution.schedule_id,
            scheduled_at=execution.scheduled_at,
            stop_requested_at=execution.stop_requested_at,
            pause_requested_at=execution.pause_requested_at,
            paused_seconds=execution.paused.total_seconds(),
            created_at=execution.created_at,
            started_at=execution.started_at,
            ended_at=execution.ended_at,
            **more,
        )


class ExecutionDetails(ExecutionShape):
    node_executions: Listing[NodeExecutionShape]


class Event(Shape):
    """What changed; ``sequence`` is the execution's revision at that change."""

    sequence: int
    type: Literal["graph_execution", "node_execution"]
    execution: ExecutionShape | NodeExecutionShape


def node_event(node: NodeChange, names: Names) -> str:
    """Write the ``Event`` of a node execution: the same JSON at a fraction of the cost, as they come by the hundred."""
    outputs = "{}" if node.output_data is None else dumps(by_pin(loads(node.output_data)))
    fields = {
        "id": node.id,
        "node_id": node.node_id,
        "block_name": names.get(node.node_id, ""),
        "sequence": node.sequence,
        "status": node.status,
        "input_data": written(node.input_data),
        "output_data": written(outputs),
        "error": node.error,
        "attempt": node.attempt,
        "tries": node.tries,
        "logs": [log.__dict__ for log in read_logs(node.logs)],
        "queued_at": node.queued_at,
        "started_at": node.started_at,
        "ended_at": node.ended_at,
    }
    return dumps({"sequence": node.revision, "type": "node_execution", "execution": fields})


class NodeOutputShape(Shape):
    number: int = Field(description="Its place among all streamed outputs of the execution, from 1.")
    node_execution_id: str
    node_id: str
    pin: str
    value: Any

    @classmethod
    def of(cls, output: NodeOutput) -> Self:
        return cls(
            number=output.number,
            node_execution_id=output.node_execution_id,
            node_id=output.node_id,
            pin=output.pin,
            value=output.value,
        )


class OutputEvent(Shape):
    """What a streaming block yielded while it runs."""

    sequence: int
    type: Literal["node_output"] = "node_output"
    output: NodeOutputShape


class Part(Shape):
    """How one part of the server is."""

    status: Literal["ok", "unavailable"]
    detail: str
    answer_seconds: float = Field(description="How long the look at it took.")


class ExecutorsPart(Part):
    alive: int = Field(description="Executor processes whose lease holds.")
    oldest_beat_seconds: float | None = Field(description="Age of the oldest last beat among them.")


class ProcessPart(Shape):
    """What one process of this machine did last; ages in seconds, null when it has not done it yet."""

    process: str
    pid: int
    last_beat_seconds: float | None = Field(description="Age of its last sign of life; none where it gives none.")
    last_claim_seconds: float | None = Field(description="Since it last claimed new executions; grows while idle.")
    last_commit_seconds: float | None = Field(description="Since its last group commit; grows while idle.")


class HealthStatus(Shape):
    """How the server is, for whoever has no key."""

    status: Literal["ok", "unavailable"]


class Health(Shape):
    """How the server is, now."""

    status: Literal["ok", "unavailable"]
    version: str
    uptime_seconds: float
    database: Part
    query_engine: Part
    executors: ExecutorsPart
    processes: list[ProcessPart] = Field(description="Those of this machine that count what they do.")
    problems: list[str] = Field(description="What is wrong, in words; empty when nothing is.")


def by_pin(outputs: Outputs) -> dict[str, list[Any]]:
    """Group (pin, value) pairs by pin, keeping the order within each."""
    values: dict[str, list[Any]] = {}
    for pin, value in outputs:
        values.setdefault(pin, []).append(value)
    return values
