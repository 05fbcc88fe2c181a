"""Follows one execution to its end, a line per node execution."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from autogpt_server.cli.client import ServerClient
from autogpt_server.cli.screen import err, escape, out, print_table, shown

#: Lines that one node gets; a loop's later passes are counted instead, so that thousands do not scroll by.
LINES_PER_NODE = 5
#: Node executions between two lines that only count.
_COUNT_EVERY = 1_000
#: Characters of a line's outputs.
_LINE_WIDTH = 100
#: Values of one output that the table shows.
_VALUES_SHOWN = 20

_FINAL = ("COMPLETED", "FAILED", "TERMINATED")
_MARKS = {
    "COMPLETED": "[green]✓[/]",
    "FAILED": "[red]✗[/]",
    "TERMINATED": "[yellow]■[/]",
    "RUNNING": "[cyan]▸[/]",
}


def follow(client: ServerClient, execution_id: str, *, quiet: bool) -> dict[str, Any]:
    """Wait until an execution has ended and return it with its outputs.

    Args:
        client: The server that executes it.
        execution_id: What to follow.
        quiet: Print no progress.

    Raises:
        Unavailable: The server went away and stayed away; the execution itself goes on.
    """
    progress = None if quiet else _Progress(node_titles(client, execution_id))
    for event in client.events(f"/executions/{execution_id}/events"):
        if event["type"] == "node_output":
            if progress is not None:
                progress.output(event["output"])
            continue
        execution = event["execution"]
        if event["type"] == "node_execution":
            if progress is not None:
                progress.node(execution)
        elif execution["status"] in _FINAL:
            break
    if progress is not None:
        progress.close()
    return client.get(f"/executions/{execution_id}", limit=1)


def node_titles(client: ServerClient, execution_id: str) -> dict[str, str]:
    """Name the nodes of an execution's graph, for people: by their titles where they have one."""
    execution = client.get(f"/executions/{execution_id}", limit=1)
    graph = client.get(f"/graphs/{execution['graph_id']}/versions/{execution['graph_version']}")
    return {node["id"]: node_title(node) for node in graph["nodes"]}


def node_title(node: dict[str, Any]) -> str:
    """Name a node for people."""
    metadata: dict[str, Any] = node.get("metadata") or {}
    return str(metadata.get("title") or metadata.get("customized_name") or node["block_name"])


class _Progress:
    def __init__(self, titles: dict[str, str]) -> None:
        self._titles = titles
        self._seen: set[tuple[str, str]] = set()
        self._last_output = 0
        self._lines: Counter[str] = Counter()
        self._uncounted: Counter[str] = Counter()
        self._ended = 0

    def output(self, output: dict[str, Any]) -> None:
        """Print what a node that runs has streamed."""
        if output["number"] <= self._last_output:
            return
        self._last_output = output["number"]
        node_id: str = output["node_id"]
        if self._lines[node_id] >= LINES_PER_NODE:
            self._uncounted[node_id] += 1
            return
        self._lines[node_id] += 1
        title = escape(self._titles.get(node_id, node_id))
        err.print(f"  [cyan]▸[/] {title}{_outcome({'output_data': {output['pin']: [output['value']]}})}")

    def node(self, execution: dict[str, Any]) -> None:
        """Print a change of a node execution.  Events may come twice after a new connection."""
        node_id: str = execution["node_id"]
        status: str = execution["status"]
        if (execution["id"], status) in self._seen:
            return
        self._seen.add((execution["id"], status))
        ended = status != "RUNNING"
        self._ended += ended
        if ended and self._ended % _COUNT_EVERY == 0:
            err.print(f"  [dim]… {self._ended:,} node executions[/]")
        if self._lines[node_id] >= LINES_PER_NODE and status != "FAILED":
            self._uncounted[node_id] += ended
            return
        self._lines[node_id] += ended
        title = self._titles.get(node_id, node_id)
        err.print(f"  {_MARKS.get(status, '·')} {escape(title)}{_took(execution)}{_outcome(execution)}")

    def close(self) -> None:
        for node_id, count in self._uncounted.items():
            err.print(f"  [dim]… and {count:,} more of {escape(self._titles.get(node_id, node_id))}[/]")


def print_outcome(execution: dict[str, Any]) -> None:
    """Print how an execution ended: one line of status, then its outputs as a table."""
    status: str = execution["status"]
    stats: dict[str, Any] = execution.get("stats") or {}
    count = stats.get("node_executions")
    nodes = f", {count:,} node executions" if isinstance(count, int) else ""
    err.print(f"{_MARKS.get(status, '·')} {status}{_took(execution)}{nodes}  [dim]{execution['id']}[/]")
    if execution.get("error"):
        err.print(f"  [red]{escape(execution['error'])}[/]")
    if execution["outputs"]:
        print_table(["Output", "Value"], _output_rows(execution["outputs"]), empty="")
    elif status == "COMPLETED":
        out.print("[dim]No outputs; the graph has no AgentOutputBlock that received a value.[/]")


def _output_rows(outputs: dict[str, list[Any]]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, values in outputs.items():
        rows += [(name, shown(value)) for value in values[:_VALUES_SHOWN]]
        if len(values) > _VALUES_SHOWN:
            rows.append((name, f"… and {len(values) - _VALUES_SHOWN:,} more (--json shows all)"))
    return rows


def _took(execution: dict[str, Any]) -> str:
    started, ended = execution.get("started_at"), execution.get("ended_at")
    if not started or not ended:
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return f"  [dim]{seconds:.1f} s[/]" if seconds >= 1 else f"  [dim]{seconds * 1000:.0f} ms[/]"


def _outcome(execution: dict[str, Any]) -> str:
    if execution.get("error"):
        return f"  [red]{escape(execution['error'])}[/]"
    parts: list[str] = []
    outputs: dict[str, list[Any]] = execution.get("output_data") or {}
    for pin, values in outputs.items():
        count = f" (1 of {len(values):,})" if len(values) > 1 else ""
        parts.append(f"{pin}: {shown(values[0])}{count}" if values else pin)
    text = ", ".join(parts).replace("\n", "⏎")
    return f"  [dim]{escape(text if len(text) <= _LINE_WIDTH else text[: _LINE_WIDTH - 1] + '…')}[/]" if text else ""
