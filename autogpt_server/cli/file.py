"""``autogpt file``: send, fetch, list and delete stored files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autogpt_server.cli.options import Json, Limit, Url

app = typer.Typer(help="Send, fetch, list and delete stored files.", no_args_is_help=True)

_FileId = Annotated[str, typer.Argument(metavar="FILE_ID", help="As `autogpt file list` shows it.")]


@app.command("upload")
def upload_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What to send.")],
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="What to call it there.")] = None,
    expires: Annotated[
        int | None,
        typer.Option("--expires-in", metavar="SECONDS", min=1, help="It is deleted some time after so many."),
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Store a file, and print its id."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json

    with connect(url) as client:
        file = client.upload("/files", path, name=name or path.name, expires_in_seconds=expires)
    if as_json:
        print_json(file)
    else:
        print(file["id"])


@app.command("list")
def list_files(limit: Limit = 20, as_json: Json = False, url: Url = None) -> None:
    """List your files, the newest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = list(client.pages("/files", limit))
    if as_json:
        print_json(items)
        return
    rows = [
        (f["id"], f["name"], f["mime_type"], f"{f['size']:,}", f["created_at"], f["expires_at"] or "") for f in items
    ]
    print_table(["Id", "Name", "Type", "Bytes", "Created", "Expires"], rows, empty="No files yet.")


@app.command("show")
def show_file(file_id: _FileId, url: Url = None) -> None:
    """Show what is known of a file, as JSON."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json

    with connect(url) as client:
        print_json(client.get(f"/files/{file_id}"))


@app.command("download")
def download_file(
    file_id: _FileId,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to write it; by default under its name, here.")
    ] = None,
    url: Url = None,
) -> None:
    """Fetch a file.  One that is here already is not written over without --to."""
    from autogpt_server.cli.client import connect
    from autogpt_server.errors import ConflictError

    with connect(url) as client:
        path = to or Path(client.get(f"/files/{file_id}")["name"])
        if to is None and path.exists():
            raise ConflictError(f"There is a file {path} already; give another name with --to.")
        client.download(f"/files/{file_id}/content", path)
    print(path)


@app.command("link")
def link_file(
    file_id: _FileId,
    expires: Annotated[
        int, typer.Option("--expires-in", metavar="SECONDS", min=1, max=604_800, help="How long it is good.")
    ] = 3600,
    url: Url = None,
) -> None:
    """Print a link by which anybody can fetch a file, without a key."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        link = client.post(f"/files/{file_id}/link", {"expires_in_seconds": expires})
        print(client.url + link["url"])


@app.command("delete")
def delete_file(file_id: _FileId, url: Url = None) -> None:
    """Delete a file."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        client.delete(f"/files/{file_id}")
    print("It is deleted.")


@app.command("cleanup")
def clean_up(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be deleted.")] = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Delete files of all users whose time has been over for an hour, and what broken uploads left."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json

    with connect(url) as client:
        done = client.post("/files/cleanup", None, dry_run=str(dry_run).lower())
    if as_json:
        print_json(done)
        return
    for name in done["names"]:
        print(name)
    print(done["summary"])
