"""``autogpt alerts``: what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from autogpt_server.cli.options import Json, Limit, Url


def list_alerts(
    all_: Annotated[bool, typer.Option("--all", help="Also those that have recovered.")] = False,
    limit: Limit = 20,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """List late executions, blocks that fail too often and schedules that fall behind, newest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = list(client.pages("/alerts", limit, only_open=str(not all_).lower()))
    if as_json:
        print_json(items)
        return
    rows = [(a["kind"], a["subject"], a["opened_at"], a["resolved_at"] or "open", a["message"]) for a in items]
    print_table(["Kind", "Of", "Since", "Until", "What"], rows, empty="Nothing is wrong.")
