"""``autogpt execution``: look at executions, stop, pause and resume them, and run them again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autogpt_server.cli.options import ExecutionId, InputFile, Inputs, Json, Key, Limit, Priority, Url

app = typer.Typer(help="Look at executions, control them, and run them again.", no_args_is_help=True)


@app.command("list")
def list_executions(
    graph: Annotated[str | None, typer.Option("--graph", metavar="GRAPH_ID", help="Only those of this graph.")] = None,
    limit: Limit = 20,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """List executions, newest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    path = "/executions" if graph is None else f"/graphs/{graph}/executions"
    with connect(url) as client:
        items = list(client.pages(path, limit))
    if as_json:
        print_json(items)
    else:
        rows = [(e["id"], e["status"], e["created_at"], e["graph_id"], e["graph_version"]) for e in items]
        print_table(["Id", "Status", "Created", "Graph", "Version"], rows, empty="No executions yet.")


@app.command("show")
def show_execution(
    execution_id: ExecutionId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until it has ended.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Show what the blocks printed and logged, too.")] = False,
    limit: Limit = 50,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Show an execution: its status, its outputs and what its nodes did."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json

    with connect(url) as client:
        if follow:
            _follow(client, execution_id, quiet=as_json)
        execution = client.get(f"/executions/{execution_id}", limit=limit)
        if as_json:
            print_json(execution)
        else:
            _print(client, execution, with_nodes=not follow, with_logs=logs)


@app.command("stop")
def stop_execution(execution_id: ExecutionId, url: Url = None) -> None:
    """Stop an execution, and those that it started."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        execution = client.post(f"/executions/{execution_id}/stop", None)
    print("It will stop in a moment." if execution["status"] == "RUNNING" else f"It is {execution['status']}.")


@app.command("pause")
def pause_execution(execution_id: ExecutionId, url: Url = None) -> None:
    """Pause an execution, and those that it started: what runs ends, nothing else starts."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        execution = client.post(f"/executions/{execution_id}/pause", None)
    running = execution["status"] == "RUNNING"
    print("It will pause once its running nodes have ended." if running else f"It is {execution['status']}.")


@app.command("resume")
def resume_execution(execution_id: ExecutionId, url: Url = None) -> None:
    """Let a paused execution, and those that it started, go on."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        execution = client.post(f"/executions/{execution_id}/resume", None)
    print(f"It is {execution['status']}.")


@app.command("rerun")
def rerun_execution(
    execution_id: ExecutionId,
    from_node: Annotated[
        str | None,
        typer.Option("--from", metavar="NODE_ID", help="Run this node again, and all that it leads to."),
    ] = None,
    inputs: Inputs = None,
    input_file: InputFile = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Of the graph; otherwise that of the execution.")
    ] = None,
    priority: Priority = None,
    key: Key = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until it has ended.")] = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Run an execution that has ended again, keeping what it recorded as far as that still holds.

    Without --from, what failed, never ended or has other inputs now runs again.
    """
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.inputs import parse_inputs
    from autogpt_server.cli.screen import note, out, print_json

    body: dict[str, Any] = {"from_node_id": from_node, "graph_version": version}
    if inputs or input_file is not None:
        body["inputs"] = parse_inputs(inputs or [], input_file)
    with connect(url) as client:
        started = client.post(f"/executions/{execution_id}/rerun", body, key=key, priority=priority)
        if follow:
            _follow(client, started["id"], quiet=as_json)
            execution = client.get(f"/executions/{started['id']}", limit=1)
            if as_json:
                print_json(execution)
            else:
                _print(client, execution, with_nodes=False, with_logs=False)
            raise typer.Exit(0 if execution["status"] == "COMPLETED" else 1)
    if as_json:
        print_json(started)
    else:
        out.print(started["id"])
        note(f"It is {started['status']}; look at it with: autogpt execution show {started['id']}")


def _follow(client: Any, execution_id: str, *, quiet: bool) -> None:
    from autogpt_server.cli.follow import follow
    from autogpt_server.cli.screen import note

    try:
        follow(client, execution_id, quiet=quiet)
    except KeyboardInterrupt:
        note("\nStopped looking; the execution goes on.")
        raise typer.Exit(130) from None


def _print(client: Any, execution: dict[str, Any], *, with_nodes: bool, with_logs: bool) -> None:
    from autogpt_server.cli.follow import node_titles, print_outcome
    from autogpt_server.cli.screen import note

    print_outcome(execution)
    if not (with_nodes or with_logs):
        return
    titles = node_titles(client, execution["id"])
    page = execution["node_executions"]
    if with_nodes:
        _print_nodes(page["items"], titles)
    if with_logs:
        _print_logs(page["items"], titles)
    if page["next_cursor"]:
        note("… and more; --limit shows up to 500, --json all fields.")


def _print_nodes(items: list[dict[str, Any]], titles: dict[str, str]) -> None:
    from autogpt_server.cli.screen import print_table, shown

    rows = [
        (
            e["sequence"],
            titles.get(e["node_id"], e["node_id"]),
            e["status"],
            e["error"] or shown(e["output_data"])[:200],
        )
        for e in items
    ]
    print_table(["#", "Node", "Status", "Outputs"], rows, empty="No node has ended yet.")


def _print_logs(items: list[dict[str, Any]], titles: dict[str, str]) -> None:
    from autogpt_server.cli.screen import print_table

    rows = [
        (entry["at"], titles.get(e["node_id"], e["node_id"]), e["sequence"], entry["level"], entry["text"])
        for e in items
        for entry in e["logs"]
    ]
    print_table(["Time", "Node", "#", "Level", "Text"], rows, empty="No block printed or logged anything.")
