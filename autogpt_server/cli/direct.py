"""The accounts of the database that the settings name, for commands that need no server.

Whoever can read the data folder may manage the server: so a lost key is no dead end.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.data.database import Database
from autogpt_server.data.migrations import migrate
from autogpt_server.errors import UserNotFound
from autogpt_server.model.account import User
from autogpt_server.model.ids import DEFAULT_USER_ID, canonical_id
from autogpt_server.settings import Settings


@contextmanager
def open_database() -> Generator[Database]:
    """Open the database, migrated; a server may use it at the same time."""
    settings = Settings()
    migrate(settings)
    database = Database.from_settings(settings)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def open_accounts() -> Generator[Accounts]:
    """Open the accounts of the database; the local user is among them."""
    with open_database() as database:
        accounts = Accounts(database)
        accounts.users.ensure_default()
        yield accounts


def find_user(accounts: Accounts, who: str | None) -> User:
    """Find a user by id or mail address; nothing means the local user.

    Raises:
        UserNotFound: There is none.
    """
    if who is None:
        return accounts.users.get(DEFAULT_USER_ID)
    found = accounts.users.find_by_email(who) if "@" in who else accounts.users.get(canonical_id(who))
    if found is None:
        raise UserNotFound(who)
    return found
