"""Who sends a request, and what they may do with what is theirs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """One thing that a key allows.  What another user has nobody sees by any of them."""

    #: Look at everything of one's own.
    READ = "read"
    #: Make, change and delete graphs, schedules, files, credentials and keys.
    WRITE = "write"
    #: Start, stop, pause and repeat executions.
    EXECUTE = "execute"
    #: Manage users and the server itself.
    ADMIN = "admin"


class Role(StrEnum):
    """Bounds the scopes that a user's keys can have."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"

    @property
    def scopes(self) -> frozenset[Scope]:
        """All that a user of this role may be allowed."""
        return _SCOPES[self]


_SCOPES = {
    Role.OWNER: frozenset(Scope),
    Role.MEMBER: frozenset({Scope.READ, Scope.WRITE, Scope.EXECUTE}),
    Role.VIEWER: frozenset({Scope.READ}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The user of a request, and what the key that came with it allows.

    Args:
        user_id: Whose.
        role: Of the user.
        scopes: Of the key and the role together.
        key_id: Of the key; None where the server asks for none.
    """

    user_id: str
    role: Role
    scopes: frozenset[Scope]
    key_id: str | None = None

    @classmethod
    def of(cls, user_id: str, role: Role, key_scopes: Iterable[Scope], key_id: str | None) -> Principal:
        return cls(user_id, role, role.scopes & frozenset(key_scopes), key_id)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes
