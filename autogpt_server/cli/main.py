"""The command line ``autogpt``: the root of its commands, and what each kind of error prints and returns.

Exit codes: 0 done; 1 it was done and failed, or the server is away; 2 bad usage or refused input; 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autogpt_server.cli import (
    alerts,
    backup,
    block,
    credentials,
    doctor,
    execution,
    file,
    graph,
    key,
    migrate,
    notification,
    run,
    schedule,
    task,
    user,
    why,
)
from autogpt_server.errors import ConflictError, InvalidError, NotAuthenticated, NotFoundError, ServerError

app = typer.Typer(
    name="autogpt",
    help="Build graphs of blocks, execute them durably, and see what happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.add_typer(graph.app, name="graph")
app.add_typer(execution.app, name="execution")
app.add_typer(schedule.app, name="schedule")
app.add_typer(block.app, name="blocks")
app.add_typer(migrate.app, name="migrate")
app.add_typer(notification.app, name="notification")
app.add_typer(file.app, name="file")
app.add_typer(credentials.app, name="credentials")
app.add_typer(user.app, name="user")
app.add_typer(key.app, name="key")
app.command("why")(why.why)
app.command("alerts")(alerts.list_alerts)
app.add_typer(task.app, name="task")
app.command("backup")(backup.back_up)
app.command("restore")(backup.restore)
app.command("prune")(backup.prune)
app.command("doctor")(doctor.doctor)


@app.command("serve")
def serve() -> None:
    """Start the server and stay until Ctrl-C.

    It migrates the database first.  Settings come from the environment and from .env.
    """
    from autogpt_server.app import main as serve_until_stopped

    raise typer.Exit(serve_until_stopped())


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"autogpt-server {version('autogpt-server')}")
        except PackageNotFoundError:
            print("autogpt-server, not installed as a package")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app(prog_name="autogpt")
    except ServerError as error:
        from autogpt_server.cli.screen import note, print_error

        print_error(error)
        if isinstance(error, NotAuthenticated):
            note("Commands send the key of AUTOGPT_API_KEY, from the environment or .env.")
        sys.exit(2 if isinstance(error, InvalidError | NotFoundError | ConflictError) else 1)
    except ValueError as error:
        from autogpt_server.cli.wrong_settings import describe_wrong_settings

        wrong = describe_wrong_settings(error)
        if wrong is None:
            raise
        sys.stderr.write(f"✗ A setting is wrong: {wrong}\n")
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, `head` for example, has seen enough
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
