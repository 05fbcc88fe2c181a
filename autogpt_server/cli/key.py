"""``autogpt key``: keys for the REST interface.  Works on the database, with a server or without."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autogpt_server.cli.options import Json, Url
from autogpt_server.model.principal import Scope

if TYPE_CHECKING:
    from autogpt_server.model.account import ApiKey

app = typer.Typer(
    help="Manage API keys, directly in the database of the settings; no server is needed.", no_args_is_help=True
)

_User = Annotated[
    str | None,
    typer.Option("--user", metavar="USER", help="Whose, by mail address or id; by default the local user's."),
]


@app.command("add")
def add_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="To tell it from others.")],
    user: _User = None,
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="What it allows; may be repeated. All of the role by default.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=36_500, help="It expires after so many; otherwise it does not.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once.  From the first one on every request to the server needs a key."""
    from autogpt_server.cli.direct import find_user, open_accounts
    from autogpt_server.cli.screen import note, print_json
    from autogpt_server.model import clock

    expires_at = None if days is None else clock.now() + timedelta(days=days)
    with open_accounts() as accounts:
        key, text = accounts.add_key(find_user(accounts, user), name, scope, expires_at)
    if as_json:
        print_json(_as_dict(key) | {"key": text})
        return
    print(text)
    note("It is not shown again. Send it as `Authorization: Bearer ...`; commands take it from AUTOGPT_API_KEY.")


@app.command("list")
def list_keys(user: _User = None, as_json: Json = False) -> None:
    """List keys, the newest first: of a user, or of all."""
    from autogpt_server.cli.direct import find_user, open_accounts
    from autogpt_server.cli.screen import print_json, print_table

    with open_accounts() as accounts:
        user_id = None if user is None else find_user(accounts, user).id
        keys = accounts.keys.list(user_id, limit=500).items
    if as_json:
        print_json([_as_dict(key) for key in keys])
    else:
        rows = [
            (d["id"], d["name"], f"agk_{key.prefix}_…", d["user_id"], " ".join(d["scopes"]), _state(key))
            for key in keys
            for d in [_as_dict(key)]
        ]
        print_table(["Id", "Name", "Key", "User", "Allows", "State"], rows, empty="No keys: none is needed.")


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `autogpt key list` shows it.")],
) -> None:
    """Revoke a key for good.  A running server takes it for a second more at most."""
    from autogpt_server.cli.direct import open_accounts
    from autogpt_server.model.ids import canonical_id

    with open_accounts() as accounts:
        key = accounts.keys.revoke(canonical_id(key_id), None)
    print(f"{key.name} is revoked.")


@app.command("claim")
def claim_key(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As the server printed it at its start.")],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="To tell the key from others.")] = "first key",
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Exchange the one-time token of a server that others can reach for its first key, over REST."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import note, print_json

    with connect(url) as client:
        answer = client.post("/keys/claim", {"token": token, "name": name})
    if as_json:
        print_json(answer)
        return
    print(answer["key"])
    note("It is not shown again. Put it into AUTOGPT_API_KEY for these commands.")


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "" if key.expires_at is None else f"expires {key.expires_at:%Y-%m-%d %H:%M}Z"


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _as_dict(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "user_id": key.user_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(scope.value for scope in key.scopes),
        "expires_at": _written(key.expires_at),
        "last_used_at": _written(key.last_used_at),
        "revoked_at": _written(key.revoked_at),
    }
