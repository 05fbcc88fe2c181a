"""The server's keys, with what the database knows: whether anything is stored that only they can open."""

from __future__ import annotations

from autogpt_server.data.database import Database
from autogpt_server.settings import Settings
from autogpt_server.vault.keyring import Keyring

#: Tables and columns that hold encrypted texts.
SEALED: tuple[tuple[str, str], ...] = ()


def open_keyring(settings: Settings, database: Database) -> Keyring:
    """Open the keys.  They are made when they are first used, unless something was encrypted under lost ones."""
    return Keyring.from_settings(settings, lambda: not has_sealed(database))


def has_sealed(database: Database) -> bool:
    """Tell whether an encrypted text is stored."""
    with database.read() as c:
        return any(
            c.execute(f'SELECT 1 FROM "{table}" WHERE "{column}" IS NOT NULL LIMIT 1').first() is not None
            for table, column in SEALED
        )
