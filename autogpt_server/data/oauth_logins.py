"""The OAuthLogin table: users who were sent to a provider and have not come back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autogpt_server.data.database import Database
from autogpt_server.data.sealed import hold_keys, sealing
from autogpt_server.model import clock
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class OAuthLogin:
    """A login that was begun."""

    #: SHA-256 of what the provider sends back with the user, hexadecimal.
    state_hash: str
    user_id: str
    provider: str
    #: What to call the credentials.
    title: str
    scopes: tuple[str, ...]
    expires_at: datetime
    #: Of the credentials that get new tokens; None where new ones are made.
    credentials_id: str | None = None


class OAuthLogins:
    """Reads and writes logins.  Blocking."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._db, self._keyring = database, keyring

    def add(self, login: OAuthLogin, verifier: str) -> None:
        """Store a new one; those whose time is over go."""
        text = """
INSERT INTO "OAuthLogin" ("stateHash","userId","provider","title","scopes","verifier","expiresAt","credentialsId")
VALUES (?,?,?,?,?,?,?,?)
"""
        with sealing(self._db, self._keyring) as c:
            c.execute(
                self._db.sql('DELETE FROM "OAuthLogin" WHERE "expiresAt" < ?'), (self._db.to_column(clock.now()),)
            )
            values = (
                login.state_hash, login.user_id, login.provider, login.title, dumps(login.scopes),
                self._keyring.encrypt(verifier), self._db.to_column(login.expires_at), login.credentials_id,
            )  # fmt: skip
            c.execute(self._db.sql(text), values)

    def take(self, state_hash: str) -> tuple[OAuthLogin, str] | None:
        """Remove one and return it with its verifier; None where it is not there, or somebody else took it."""
        text = """
DELETE FROM "OAuthLogin" WHERE "stateHash" = ?
RETURNING "userId","provider","title","scopes","verifier","expiresAt","credentialsId"
"""
        with self._db.write() as c:
            # So that the key of the verifier is not dropped before it is read.
            hold_keys(self._db, c)
            row = c.execute(self._db.sql(text), (state_hash,)).first()
            verifier = None if row is None else self._keyring.decrypt(row[4])
        if row is None or verifier is None:
            return None
        expires = self._db.from_column(row[5])
        assert expires is not None
        return OAuthLogin(state_hash, row[0], row[1], row[2], tuple(loads(row[3])), expires, row[6]), verifier
