"""The server's keys, with what the database knows: whether anything is stored that only they can open."""

from __future__ import annotations

from autogpt_server.data.database import Database
from autogpt_server.data.sealed import has_sealed
from autogpt_server.settings import Settings
from autogpt_server.vault.keyring import Keyring


def open_keyring(settings: Settings, database: Database) -> Keyring:
    """Open the keys.  They are made when they are first used, unless something was encrypted under lost ones."""
    return Keyring.from_settings(settings, lambda: not has_sealed(database))
