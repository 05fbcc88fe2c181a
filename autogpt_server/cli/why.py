"""``autogpt why``: what an execution or a schedule waits for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autogpt_server.cli.options import Json, Url


def why(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Of an execution or a schedule.")],
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Tell why an execution or a schedule does not run: what it waits for, and what would help."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import out, print_json

    with connect(url) as client:
        answer = _ask(client, id_)
    if as_json:
        print_json(answer)
        return
    for reason in answer["reasons"]:
        out.print(reason["message"], markup=False)
        if reason["fix"]:
            out.print(f"  → {reason['fix'].replace('{id}', id_).replace(' ID', f' {id_}')}", markup=False)


def _ask(client: Any, id_: str) -> dict[str, Any]:
    from autogpt_server.errors import InvalidError, NotFoundError

    try:
        return client.get(f"/executions/{id_}/why")
    except (NotFoundError, InvalidError):
        # Ids of schedules that come from elsewhere need not be UUIDs.
        pass
    try:
        return client.get(f"/schedules/{id_}/why")
    except NotFoundError:
        raise NotFoundError(f"There is neither an execution nor a schedule {id_}.") from None
