"""``autogpt user``: who uses the server.  Works on the database, with a server or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autogpt_server.cli.options import Json
from autogpt_server.model.principal import Role

if TYPE_CHECKING:
    from autogpt_server.model.account import User

app = typer.Typer(
    help="Manage users, directly in the database of the settings; no server is needed.", no_args_is_help=True
)

_Who = Annotated[str, typer.Argument(metavar="USER", help="Mail address or id.")]
_Name = Annotated[str | None, typer.Option("--name", metavar="TEXT", help="What they are called.")]
_Zone = Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="As Europe/Berlin; UTC by default.")]


@app.command("add")
def add_user(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Where their mail goes.")],
    name: _Name = None,
    timezone: _Zone = None,
    role: Annotated[Role, typer.Option("--role", help="Bounds what their keys can allow.")] = Role.MEMBER,
    as_json: Json = False,
) -> None:
    """Create a user; `autogpt key add --user EMAIL` then makes the key to come in with."""
    from autogpt_server.cli.direct import open_accounts

    with open_accounts() as accounts:
        _print(accounts.add_user(email, name, timezone or "UTC", role), as_json)


@app.command("list")
def list_users(as_json: Json = False) -> None:
    """List all users."""
    from autogpt_server.cli.direct import open_accounts
    from autogpt_server.cli.screen import print_json, print_table

    with open_accounts() as accounts:
        users, cursor = list[Any](), None
        while True:
            page = accounts.users.list(limit=500, cursor=cursor)
            users += page.items
            if (cursor := page.next_cursor) is None:
                break
    if as_json:
        print_json([_as_dict(user) for user in users])
    else:
        rows = [(u.id, u.email, u.name or "", u.role, u.timezone, "disabled" if u.disabled_at else "") for u in users]
        print_table(["Id", "Email", "Name", "Role", "Time zone", "State"], rows, empty="There are none.")


@app.command("show")
def show_user(who: _Who, as_json: Json = False) -> None:
    """Show a user."""
    from autogpt_server.cli.direct import find_user, open_accounts

    with open_accounts() as accounts:
        _print(find_user(accounts, who), as_json)


@app.command("edit")
def edit_user(
    who: _Who,
    email: Annotated[str | None, typer.Option("--email", metavar="EMAIL", help="Where their mail goes.")] = None,
    name: _Name = None,
    timezone: _Zone = None,
    role: Annotated[Role | None, typer.Option("--role", help="Bounds what their keys can allow.")] = None,
    as_json: Json = False,
) -> None:
    """Change a user: only what is given."""
    from autogpt_server.cli.direct import find_user, open_accounts

    given = {"email": email, "name": name, "timezone": timezone, "role": role}
    changes = {key: value for key, value in given.items() if value is not None}
    with open_accounts() as accounts:
        _print(accounts.edit_user(find_user(accounts, who).id, changes), as_json)


@app.command("disable")
def disable_user(who: _Who) -> None:
    """Disable a user: their keys do not work any more, their schedules are paused.  Nothing is deleted."""
    from autogpt_server.accounts.accounts import Accounts
    from autogpt_server.cli.direct import find_user, open_database
    from autogpt_server.scheduler.scheduling import Scheduling, pause_all

    with open_database() as database:
        accounts = Accounts(database)
        user = accounts.edit_user(find_user(accounts, who).id, {"is_disabled": True})
        # Schedulers find it when they read the schedule again to fire it.
        paused = pause_all(Scheduling(database, lambda ids: None), user.id, reason="its user is disabled")
    print(f"{user.email} is disabled; {paused:,} schedules were paused.")


@app.command("enable")
def enable_user(who: _Who) -> None:
    """Let the keys of a user who was disabled work again; their schedules stay paused."""
    from autogpt_server.cli.direct import find_user, open_accounts

    with open_accounts() as accounts:
        user = accounts.edit_user(find_user(accounts, who).id, {"is_disabled": False})
    print(f"{user.email} is enabled.")


def _print(user: User, as_json: bool) -> None:
    from autogpt_server.cli.screen import print_json, print_table

    if as_json:
        print_json(_as_dict(user))
    else:
        print_table(["Field", "Value"], [(key, str(value)) for key, value in _as_dict(user).items()], empty="")


def _as_dict(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "timezone": user.timezone,
        "role": user.role.value,
        "is_disabled": user.disabled_at is not None,
    }
