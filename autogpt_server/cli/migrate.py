"""``autogpt migrate``: bring the database to this release, or back.  Needs no server; stop one before going down."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Bring the database to this release, or back.", no_args_is_help=True)


@app.command("up")
def migrate_up() -> None:
    """Apply the migrations that are missing.  The server does it at every start."""
    from autogpt_server.data.migrations import migrate
    from autogpt_server.settings import Settings

    applied = migrate(Settings())
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("The database is up to date.")


@app.command("down")
def migrate_down(
    steps: Annotated[int, typer.Option("--steps", min=1, help="How many migrations to take back.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Take back the latest migrations.  What their tables held is lost."""
    from autogpt_server.cli.private_server import data_folder_is_served
    from autogpt_server.data.migrations import downgrade
    from autogpt_server.errors import ConflictError
    from autogpt_server.settings import Settings

    settings = Settings()
    if data_folder_is_served(settings):
        raise ConflictError(f"A server uses the data folder {settings.data_dir}; stop it first.")
    if not yes:
        typer.confirm(f"Take back {steps} migration(s)? What their tables held is lost", abort=True)
    undone = downgrade(settings, steps=steps)
    for name in undone:
        print(f"took back {name}")
    if not undone:
        print("The database has no migrations.")


@app.command("status")
def migrate_status() -> None:
    """Show which migrations the database has.

    Exit code: 0 up to date or merely behind, 1 it does not fit this release.
    """
    from autogpt_server.cli.screen import print_problems, print_table
    from autogpt_server.data.migrations import status
    from autogpt_server.settings import Settings

    found = status(Settings())
    rows = [(name, "applied") for name in found.applied] + [(name, "missing") for name in found.pending]
    print_table(["Migration", "State"], rows, empty="No migrations.")
    print_problems(found.problems, mark="✗")
    if found.problems:
        raise typer.Exit(1)
