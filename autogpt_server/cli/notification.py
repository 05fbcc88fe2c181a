"""``autogpt notification``: how soon you are told of what, and where."""

from __future__ import annotations

from typing import Annotated

import typer

from autogpt_server.cli.options import Json, Limit, Url

app = typer.Typer(help="Say how soon you want to be told of what, and where.", no_args_is_help=True)

_TargetId = Annotated[str, typer.Argument(metavar="TARGET_ID", help="As `autogpt notification targets` shows it.")]


@app.command("preferences")
def preferences(
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TYPE=FREQUENCY]...", help="As execution_failed=daily; without any it only shows them."
        ),
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Show how soon you are told of what, or change it: immediate, hourly, daily or never."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table
    from autogpt_server.errors import InvalidError, Problem

    with connect(url) as client:
        found = client.get("/notifications/preferences")
        if changes:
            for change in changes:
                kind, equals, frequency = change.partition("=")
                if not equals:
                    problem = Problem(change, "names no frequency", "write it as execution_failed=daily")
                    raise InvalidError("Bad usage.", [problem])
                found["frequencies"][kind] = frequency
            found = client.put("/notifications/preferences", found)
    if as_json:
        print_json(found)
    else:
        print_table(["Of", "Told"], list(found["frequencies"].items()), empty="")


@app.command("targets")
def list_targets(as_json: Json = False, url: Url = None) -> None:
    """List where you are told; without any, mail goes to your address."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = client.get("/notifications/targets")["items"]
    if as_json:
        print_json(items)
        return
    rows = [(t["id"], t["kind"], t["name"], t["address"], "" if t["is_enabled"] else "not used") for t in items]
    print_table(["Id", "Kind", "Name", "Address", "State"], rows, empty="None: mail goes to your address.")


@app.command("add")
def add_target(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="mail, webhook or apprise.")],
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A mail address or a URL.")],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What to call it.")] = "",
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Add a place where you are told; of a webhook, the secret is printed that its messages are signed with."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import note, print_json

    with connect(url) as client:
        target = client.post("/notifications/targets", {"kind": kind, "address": address, "name": name})
    if as_json:
        print_json(target)
        return
    print(target["id"])
    if target["secret"]:
        note(f"Its messages are signed with this, which is not shown again: {target['secret']}")


@app.command("remove")
def remove_target(target_id: _TargetId, url: Url = None) -> None:
    """Delete a target."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        client.delete(f"/notifications/targets/{target_id}")
    print("It is deleted.")


@app.command("test")
def try_target(target_id: _TargetId, url: Url = None) -> None:
    """Send a message to a target now."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        client.post(f"/notifications/targets/{target_id}/test", None)
    print("It was taken.")


@app.command("list")
def list_messages(limit: Limit = 20, as_json: Json = False, url: Url = None) -> None:
    """List the messages to you, the latest first, with what became of each."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = list(client.pages("/notifications", limit))
    if as_json:
        print_json(items)
        return
    rows = [
        (m["created_at"], m["state"], m["total"], m["target_id"] or "your address", m["error"] or "") for m in items
    ]
    print_table(["Made", "State", "Told", "To", "Why not"], rows, empty="There were none.")
