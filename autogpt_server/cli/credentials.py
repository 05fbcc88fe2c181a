"""``autogpt credentials``: keep what blocks need to get in elsewhere, and renew the key under which it is kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from autogpt_server.cli.options import Json, Limit, Url

app = typer.Typer(help="Keep what blocks need to get in elsewhere: keys, passwords, tokens.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="CREDENTIALS_ID", help="As `autogpt credentials list` shows it.")]
_SecretFile = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="FILE", help="What holds the secret; `-` for standard input."),
]
_User = Annotated[str | None, typer.Option("--username", metavar="NAME", help="Of a name and password.")]
_Host = Annotated[str | None, typer.Option("--host", metavar="HOST", help="Of a header for one host alone.")]
_Header = Annotated[str, typer.Option("--header", metavar="NAME", help="Which header, with --host.")]


@app.command("add")
def add_credentials(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The service that they are for.")],
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="To tell them from others.")] = None,
    username: _User = None,
    host: _Host = None,
    header: _Header = "Authorization",
    secret_file: _SecretFile = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Keep an API key; with --username a password, with --host a header.  Print the id.

    The secret is asked for, or read from a file: other users of this machine can see arguments.
    """
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json

    secrets = _secrets(username, host, header, _read_secret(secret_file))
    with connect(url) as client:
        added = client.post("/credentials", {"provider": provider, "title": title, "secrets": secrets})
    if as_json:
        print_json(added)
    else:
        print(added["id"])


@app.command("edit")
def edit_credentials(
    credentials_id: _Id,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Another title.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the secret; it is asked for.")] = False,
    username: _User = None,
    host: _Host = None,
    header: _Header = "Authorization",
    secret_file: _SecretFile = None,
    url: Url = None,
) -> None:
    """Give credentials another title, or another secret of the same type."""
    from autogpt_server.cli.client import connect

    changes: dict[str, Any] = {} if title is None else {"title": title}
    if replace or secret_file is not None:
        changes["secrets"] = _secrets(username, host, header, _read_secret(secret_file))
    with connect(url) as client:
        client.patch(f"/credentials/{credentials_id}", changes)
    print("They are changed.")


@app.command("list")
def list_credentials(limit: Limit = 20, as_json: Json = False, url: Url = None) -> None:
    """List your credentials, the newest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = list(client.pages("/credentials", limit))
    if as_json:
        print_json(items)
        return
    rows = [(c["id"], c["provider"], c["type"], c["title"], c["expires_at"] or "", c["problem"] or "") for c in items]
    print_table(["Id", "Provider", "Type", "Title", "Expires", "Problem"], rows, empty="No credentials yet.")


@app.command("show")
def show_credentials(credentials_id: _Id, url: Url = None) -> None:
    """Show what is known of credentials, as JSON; what they hold is shown nowhere."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json

    with connect(url) as client:
        print_json(client.get(f"/credentials/{credentials_id}"))


@app.command("delete")
def delete_credentials(credentials_id: _Id, url: Url = None) -> None:
    """Delete credentials; what uses them fails from then on."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        client.delete(f"/credentials/{credentials_id}")
    print("They are deleted.")


@app.command("connect")
def connect_provider(
    provider: Annotated[
        str | None, typer.Argument(metavar="[PROVIDER]", help="Without one, those that there are are listed.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="To tell them from others.")] = None,
    scope: Annotated[list[str] | None, typer.Option("--scope", help="What to ask for; may be repeated.")] = None,
    again: Annotated[
        str | None,
        typer.Option("--again", metavar="CREDENTIALS_ID", help="Give these new tokens, instead of making new ones."),
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Connect with an OAuth2 provider: print the address that is to be opened in a browser."""
    from urllib.parse import quote

    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import note, print_json, print_table

    with connect(url) as client:
        if provider is None:
            items = client.get("/credentials/providers")["items"]
            if as_json:
                print_json(items)
            else:
                rows = [(one["name"], " ".join(one["scopes"])) for one in items]
                print_table(["Name", "Asked for"], rows, empty="No provider is set; see docs/credentials.md.")
            return
        body = {"title": title, "scopes": scope, "credentials_id": again}
        login = client.post(f"/credentials/oauth/{quote(provider, safe='')}/start", body)
    if as_json:
        print_json(login)
        return
    print(login["authorization_url"])
    note("Open it in a browser within ten minutes; `autogpt credentials list` then shows what came of it.")


@app.command("rotate-key")
def rotate_key() -> None:
    """Encrypt all secrets under a new key, and drop the old ones.  Servers may go on meanwhile.

    Works on the database and the key file of the settings.  Whatever interrupts it, it may be run again.
    """
    from autogpt_server.cli.direct import open_database
    from autogpt_server.cli.screen import note
    from autogpt_server.data.keyring import open_keyring
    from autogpt_server.data.sealed import rotate_key as rotate
    from autogpt_server.settings import Settings

    with open_database() as database:
        keyring = open_keyring(Settings(), database)
        count = rotate(database, keyring, note)
    rest = "the other keys of AUTOGPT_SECRET_KEYS may go" if keyring.is_given else "the old key is gone"
    print(f"{count:,} secrets are under the new key; {rest}.")


def _secrets(username: str | None, host: str | None, header: str, secret: str) -> dict[str, Any]:
    from autogpt_server.errors import InvalidError, Problem

    if username is not None and host is not None:
        problem = Problem("--host", "goes with no --username", "give a header for a host, or a name and a password")
        raise InvalidError("Bad usage.", [problem])
    if host is not None:
        return {"type": "host_scoped", "host": host, "headers": {header: secret}}
    if username is not None:
        return {"type": "user_password", "username": username, "password": secret}
    return {"type": "api_key", "api_key": secret}


def _read_secret(file: Path | None) -> str:
    from autogpt_server.errors import InvalidError, Problem

    try:
        if file is None and sys.stdin.isatty():
            return typer.prompt("Secret", hide_input=True)
        text = sys.stdin.read() if file is None or str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidError("Bad usage.", [Problem("--secret-file", str(error), "give a readable text file")]) from None
    # Files end with a line break that is no part of what they hold.
    return text.rstrip("\r\n")
