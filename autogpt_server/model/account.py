"""Users of the server, and the keys that they send with requests.  No secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autogpt_server.model.principal import Role, Scope


@dataclass(frozen=True, slots=True)
class User:
    """Somebody to whom graphs, executions, schedules and files belong."""

    id: str
    email: str
    name: str | None
    #: IANA name.
    timezone: str
    role: Role
    #: Since when their keys do not work; None where they do.
    disabled_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key after it was shown once."""

    id: str
    user_id: str
    name: str
    #: The part of it by which it is found, and told apart in lists.
    prefix: str
    scopes: frozenset[Scope]
    #: A one-time token, good for nothing but a first key.
    is_setup: bool
    expires_at: datetime | None
    #: To the minute.
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
