"""Options that several commands share.  Kept apart from what they do, so that ``--help`` imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Address of the server; otherwise AUTOGPT_HOST and AUTOGPT_PORT give it."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs on standard output.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=500, help="How many to list.")]
GraphId = Annotated[str, typer.Argument(metavar="GRAPH_ID", help="Id of a stored graph.")]
ExecutionId = Annotated[str, typer.Argument(metavar="EXECUTION_ID", help="Id that the start of an execution printed.")]
