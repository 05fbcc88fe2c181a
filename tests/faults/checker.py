"""Reads a whole database after a fault, and names every promise of the engine that it finds broken.

Written from the rules, not from the engine: it shares no code with it but the access to the database.  What it reads of
schedules stands in schedule_checks.py.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, cast

from autogpt_server.data.connection import Connection
from tests.faults.consumption import Link, Run, key, problems_of_node, shown
from tests.faults.schedule_checks import Known, ScheduleChecks

FINAL = frozenset({"COMPLETED", "FAILED", "TERMINATED"})


@dataclass(frozen=True)
class _Execution:
    id: str
    graph: tuple[str, int]
    status: str
    attempt: int
    deaths: int
    executor: str | None
    revision: int
    parent_id: str | None
    outputs: Any
    stats: Any
    rerun_of: str | None
    started_at: Any
    ended_at: Any


@dataclass(frozen=True)
class _Node(Run):
    id: str
    node_id: str
    sequence: int | None
    status: str
    attempt: int
    revision: int


@dataclass(frozen=True)
class _Graph:
    blocks: dict[str, tuple[str, dict[str, Any]]]
    links: list[Link]


class Checker:
    """Checks what one connection sees.

    Args:
        connection: To the database; nothing is written.
        max_deaths: After so many an execution must have been given up.
        max_attempts: Starts that the faults of the test explain, at most.
    """

    def __init__(self, connection: Connection, *, max_deaths: int = 3, max_attempts: int = 1_000_000) -> None:
        self._c, self._max_deaths, self._max_attempts = connection, max_deaths, max_attempts
        self._executions = self._read_executions()
        self._nodes = self._read_nodes()
        self._graphs = self._read_graphs()

    def problems(self, accepted: Collection[str] = (), schedules: Collection[Known] = ()) -> list[str]:
        """Name what is wrong; an empty list means that all promises were kept.

        Args:
            accepted: Executions that clients were told of.
            schedules: What their owners know of them.
        """
        found = [f"{id_}: was accepted and is lost" for id_ in accepted if id_ not in self._executions]
        for execution in self._executions.values():
            nodes = self._nodes.get(execution.id, [])
            checks = (self._ended, self._bounds, self._history, self._streams, self._family, self._consumption)
            found += [f"{execution.id}: {problem}" for check in checks for problem in check(execution, nodes)]
        found += self._counts()
        found += ScheduleChecks(self._c, schedules).problems()
        found += [f"{id_}: nodes of no execution" for id_ in self._nodes if id_ not in self._executions]
        return found

    def _ended(self, execution: _Execution, nodes: list[_Node]) -> Iterator[str]:
        if execution.status not in FINAL:
            yield f"is {execution.status}, not ended"
            return
        if execution.ended_at is None:
            yield "has a final status and no end"
        for node in nodes:
            if node.status not in FINAL:
                yield f"has ended, its node {node.id} is {node.status}"
            elif node.outputs is None and node.status == "COMPLETED":
                yield f"node {node.id} is COMPLETED without outputs"
        if execution.status == "COMPLETED":
            if execution.stats.get("node_executions") != len(nodes):
                yield f"counts {execution.stats.get('node_executions')} nodes, {len(nodes)} are recorded"
            if self._collected(execution, nodes) != _counted(execution.outputs):
                yield "its outputs are not what its output nodes received"

    def _bounds(self, execution: _Execution, nodes: list[_Node]) -> Iterator[str]:
        if execution.status == "COMPLETED" and execution.attempt < 1:
            yield "is COMPLETED and was never started"
        if execution.attempt > self._max_attempts:
            yield f"was started {execution.attempt} times"
        if execution.deaths > self._max_deaths or (
            execution.deaths == self._max_deaths and execution.status == "COMPLETED"
        ):
            yield f"survived {execution.deaths} deaths"
        least = 1 if execution.rerun_of is None else 0
        for node in nodes:
            if not least <= node.attempt <= execution.attempt:
                yield f"node {node.id} is of attempt {node.attempt}, the execution had {execution.attempt}"
            if node.revision > execution.revision:
                yield f"node {node.id} has revision {node.revision}, the execution has {execution.revision}"

    def _history(self, execution: _Execution, nodes: list[_Node]) -> Iterator[str]:
        sequences = sorted(node.sequence for node in nodes if node.sequence is not None)
        if sequences != list(range(1, len(sequences) + 1)):
            yield f"its ends are numbered {shown(sequences)}"
        if execution.status == "COMPLETED" and len(sequences) != len(nodes):
            yield "is COMPLETED with nodes that never ended"

    def _streams(self, execution: _Execution, nodes: list[_Node]) -> Iterator[str]:
        rows = self._c.execute(
            'SELECT "number","agentNodeExecutionId","pin","value","revision" FROM "AgentNodeOutput" '
            f'WHERE "agentGraphExecutionId" = \'{execution.id}\' ORDER BY "number"'
        ).all()
        if [row[0] for row in rows] != list(range(1, len(rows) + 1)):
            yield f"its streamed outputs are numbered {shown([row[0] for row in rows])}"
        by_id = {node.id: node for node in nodes}
        streamed: dict[str, list[list[Any]]] = defaultdict(list)
        for row in rows:
            streamed[row[1]].append([row[2], json.loads(row[3])])
            if row[4] > execution.revision:
                yield f"streamed output {row[0]} has revision {row[4]}, the execution has {execution.revision}"
        for owner, pairs in streamed.items():
            node = by_id.get(owner)
            if node is None:
                yield f"streamed outputs of {owner}, which is not recorded"
            elif node.outputs is not None and node.outputs[: len(pairs)] != pairs:
                yield f"node {owner} ended with other outputs than it had streamed"

    def _family(self, execution: _Execution, _: list[_Node]) -> Iterator[str]:
        if execution.parent_id is None:
            return
        parent = self._executions.get(execution.parent_id)
        if parent is None:
            yield f"was started by {execution.parent_id}, which is not there"
        elif parent.status in FINAL and execution.status not in FINAL:
            yield "goes on though the execution that started it has ended"

    def _consumption(self, execution: _Execution, nodes: list[_Node]) -> Iterator[str]:
        """Each recorded output is consumed once per link: no more, and in what is COMPLETED, no fewer."""
        graph = self._graphs[execution.graph]
        by_node: dict[str, list[_Node]] = defaultdict(list)
        for node in nodes:
            by_node[node.node_id].append(node)
        yield from (f"ran node {id_}, which its graph does not have" for id_ in by_node if id_ not in graph.blocks)
        whole = execution.status == "COMPLETED"
        for node_id, (_, defaults) in graph.blocks.items():
            runs = by_node[node_id]
            links = [link for link in graph.links if link[2] == node_id]
            if not links and len(runs) != 1 and (whole or runs):
                yield f"node {node_id} starts the graph and ran {len(runs)} times"
            if links:
                yield from problems_of_node(node_id, defaults, [*runs], links, cast(Any, by_node), whole)

    def _collected(self, execution: _Execution, nodes: list[_Node]) -> dict[str, Counter[str]]:
        """What the output nodes received, by name."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        blocks = self._graphs[execution.graph].blocks
        for node in nodes:
            name, defaults = blocks.get(node.node_id, ("", {}))
            if name == "AgentOutputBlock" and node.status == "COMPLETED":
                found[node.inputs.get("name", defaults.get("name"))][key(node.inputs.get("value"))] += 1
        return dict(found)

    def _counts(self) -> Iterator[str]:
        """Compare the hourly counts with the ends of nodes that are recorded; attempt 0 took over what ran before."""
        ended: Counter[tuple[str, str]] = Counter()
        for execution in self._executions.values():
            blocks = self._graphs[execution.graph].blocks
            for node in self._nodes.get(execution.id, []):
                if node.attempt and node.sequence is not None and node.status in ("COMPLETED", "FAILED"):
                    ended[blocks.get(node.node_id, ("?",))[0], node.status] += 1
        names = {name for name, _ in ended}
        counted = {
            row[0]: (int(row[1]), int(row[2]))
            for row in self._c.execute(
                'SELECT "blockName", SUM("executions"), SUM("failures") FROM "BlockExecutionCount" GROUP BY "blockName"'
            )
        }
        for name in sorted(names | counted.keys()):
            failures = ended[name, "FAILED"]
            expected = (ended[name, "COMPLETED"] + failures, failures)
            if counted.get(name, (0, 0)) != expected:
                yield f"of block {name} {counted.get(name)} ends and failures are counted, {expected} are recorded"

    def _read_executions(self) -> dict[str, _Execution]:
        rows = self._c.execute(
            'SELECT "id","agentGraphId","agentGraphVersion","status","attempt","deaths","executor","revision",'
            '"parentExecutionId","outputs","stats","rerunOfId","startedAt","endedAt" FROM "AgentGraphExecution"'
        ).all()
        return {
            r[0]: _Execution(
                r[0], (r[1], r[2]), r[3], r[4], r[5], r[6], r[7], r[8], _parsed(r[9]), _parsed(r[10]), *r[11:]
            )
            for r in rows
        }

    def _read_nodes(self) -> dict[str, list[_Node]]:
        found: dict[str, list[_Node]] = defaultdict(list)
        rows = self._c.execute(
            'SELECT "agentGraphExecutionId","id","agentNodeId","sequence","status","inputData","outputData","attempt",'
            '"revision" FROM "AgentNodeExecution" ORDER BY "sequence"'
        ).all()
        for r in rows:
            outputs = None if r[6] is None else json.loads(r[6])
            found[r[0]].append(_Node(_parsed(r[5]), outputs, r[1], r[2], r[3], r[4], r[7], r[8]))
        return dict(found)

    def _read_graphs(self) -> dict[tuple[str, int], _Graph]:
        found: dict[tuple[str, int], _Graph] = defaultdict(lambda: _Graph({}, []))
        for r in self._c.execute(
            'SELECT "agentGraphId","agentGraphVersion","id","agentBlockName","constantInput" FROM "AgentNode"'
        ):
            found[r[0], r[1]].blocks[r[2]] = (r[3], _parsed(r[4]))
        for r in self._c.execute(
            'SELECT "agentGraphId","agentGraphVersion","agentNodeSourceId","sourceName","agentNodeSinkId","sinkName",'
            '"isStatic" FROM "AgentNodeLink"'
        ):
            found[r[0], r[1]].links.append((r[2], r[3], r[4], r[5], bool(r[6])))
        return found


def _parsed(text: str | None) -> Any:
    return {} if text is None else json.loads(text)


def _counted(outputs: dict[str, list[Any]]) -> dict[str, Counter[str]]:
    return {name: Counter(key(value) for value in values) for name, values in outputs.items() if values}
