"""Options that several commands share.  Kept apart from what they do, so that ``--help`` imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
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
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=VALUE", help="One input; as JSON where it parses, else as text."),
]
InputFile = Annotated[
    Path | None,
    typer.Option("--input-file", metavar="FILE", help="All inputs as a JSON object; '-' is standard input."),
]
Priority = Annotated[
    int | None,
    typer.Option(
        "--priority", min=-100, max=100, help="Of your executions that wait, those with a higher one start first."
    ),
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="TEXT", help="Idempotency key: the command may be repeated, it runs once."),
]
