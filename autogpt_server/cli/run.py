"""``autogpt run``: execute a graph from a file or by its id."""

from __future__ import annotations

from typing import Annotated

import typer

from autogpt_server.cli.options import InputFile, Inputs, Json, Key, Priority, Url


def run(
    graph: Annotated[
        str, typer.Argument(metavar="FILE_OR_ID", help="Graph as a JSON file, or the id of a stored one.")
    ],
    inputs: Inputs = None,
    input_file: InputFile = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file", metavar="FILE[=NAME]", help="Copy a file to where blocks can read it; local servers only."
        ),
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Of a stored graph; otherwise the active one.")
    ] = None,
    priority: Priority = None,
    key: Key = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay until it has ended, and print what its nodes do.")
    ] = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Execute a graph.

    A file is stored on the server first, unless the server's active version of that graph says the same.

    Where no server answers on this machine, one runs for the length of the command.

    Exit code: 0 completed, 1 failed or stopped, 2 bad usage or refused input, 130 interrupted (it goes on).
    """
    from autogpt_server.cli.inputs import parse_inputs
    from autogpt_server.cli.run_graph import RunRequest, run_graph

    raise typer.Exit(
        run_graph(
            RunRequest(
                target=graph,
                inputs=parse_inputs(inputs or [], input_file),
                files=tuple(files or ()),
                version=version,
                priority=priority,
                key=key,
                follow=follow,
                as_json=as_json,
                url=url,
            )
        )
    )
