"""``autogpt graph``: check graph files, and move graphs in and out of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autogpt_server.cli.options import GraphId, Json, Limit, Url

app = typer.Typer(help="Check graph files, and move graphs in and out of a server.", no_args_is_help=True)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="Graph as JSON; '-' is standard input.")]
_Version = Annotated[int | None, typer.Option("--version", min=1, help="Another version than the active one.")]


@app.command("validate")
def validate_graph(file: _File) -> None:
    """Check a graph file without a server, and print all problems at once.

    Exit code: 0 all is well, 1 the graph has problems, 2 the file cannot be read.
    """
    from autogpt_server.blocks.registry import load_registry
    from autogpt_server.cli.graph_file import check_document, read_json
    from autogpt_server.cli.screen import out, print_error, print_warnings
    from autogpt_server.errors import InvalidError
    from autogpt_server.settings import Settings

    settings = Settings()
    document, registry = read_json(file), load_registry(settings.blocks)
    try:
        parsed = check_document(document, registry, settings).parsed
    except InvalidError as error:
        print_error(error)
        raise typer.Exit(1) from None
    print_warnings(parsed.warnings)
    graph = parsed.graph
    out.print(f"[green]✓[/] {graph.name or 'graph'}: {len(graph.nodes):,} nodes, {len(graph.links):,} links")


@app.command("import")
def import_graph(
    file: _File,
    new_ids: Annotated[
        bool, typer.Option("--new-ids", help="Make new ids, so that it is a graph beside the original.")
    ] = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Store a graph file on the server; where its id is known there, as the next version."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.graph_file import read_json
    from autogpt_server.cli.screen import out, print_json, print_warnings
    from autogpt_server.errors import Problem

    document = read_json(file)
    with connect(url) as client:
        graph = client.post("/graphs", document, new_ids="true" if new_ids else None)
    warnings: list[dict[str, Any]] = graph.get("warnings") or []
    print_warnings([Problem(w["path"], w["message"], w.get("fix")) for w in warnings])
    if as_json:
        print_json(graph)
    else:
        out.print(f"[green]✓[/] {graph['name']} is stored as {graph['id']}, version {graph['version']}", markup=True)


@app.command("export")
def export_graph(
    graph_id: GraphId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here instead of standard output.")
    ] = None,
    version: _Version = None,
    url: Url = None,
) -> None:
    """Write a stored graph as JSON that `import` and `run` read."""
    import json

    from autogpt_server.cli.screen import note, print_json
    from autogpt_server.errors import InvalidError, Problem

    graph = _get(graph_id, version, url)
    if output is None:
        print_json(graph)
    else:
        try:
            output.write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            problem = Problem("--output", f"{output} cannot be written: {error.strerror}")
            raise InvalidError("The graph was not exported.", [problem]) from None
        note(f"Written to {output}")


@app.command("list")
def list_graphs(limit: Limit = 50, as_json: Json = False, url: Url = None) -> None:
    """List stored graphs, newest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = list(client.pages("/graphs", limit))
    if as_json:
        print_json(items)
    else:
        rows = [(g["id"], g["version"], g["name"], g["description"]) for g in items]
        print_table(
            ["Id", "Version", "Name", "Description"], rows, empty="No graphs yet; try: autogpt graph import FILE"
        )


@app.command("show")
def show_graph(graph_id: GraphId, version: _Version = None, as_json: Json = False, url: Url = None) -> None:
    """Show a stored graph: its nodes and how they are linked."""
    from autogpt_server.cli.follow import node_title
    from autogpt_server.cli.screen import out, print_json, print_table, visible

    graph = _get(graph_id, version, url)
    if as_json:
        print_json(graph)
        return
    text = f"{graph['name']}  {graph['id']}  version {graph['version']}\n{graph['description']}"
    out.print(visible(text), markup=False)
    titles = {node["id"]: node_title(node) for node in graph["nodes"]}
    print_table(
        ["Node", "Block", "Id"], [(titles[n["id"]], n["block_name"], n["id"]) for n in graph["nodes"]], empty=""
    )
    links = [
        (
            f"{titles[k['source_id']]}.{k['source_name']}",
            "⇒" if k["is_static"] else "→",
            f"{titles[k['sink_id']]}.{k['sink_name']}",
        )
        for k in graph["links"]
    ]
    print_table(["From", "", "To"], links, empty="No links.")


def _get(graph_id: str, version: int | None, url: str | None) -> dict[str, Any]:
    from autogpt_server.cli.client import connect

    path = f"/graphs/{graph_id}" if version is None else f"/graphs/{graph_id}/versions/{version}"
    with connect(url) as client:
        return client.get(path)
