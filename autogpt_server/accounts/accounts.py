"""Making users and keys: what the REST interface and the command line share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autogpt_server.accounts.secrets import hash_secret, is_secret, new_key_text, parse_key_text
from autogpt_server.data.api_keys import ApiKeys
from autogpt_server.data.database import Database
from autogpt_server.data.users import Users
from autogpt_server.errors import InvalidError, NotAuthenticated, NotAuthorizedError, Problem
from autogpt_server.model import clock
from autogpt_server.model.account import ApiKey, User
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.principal import Principal, Role, Scope

#: How long a one-time token is good.
_SETUP_TIME = timedelta(days=1)
#: What an address looks like; whether mail arrives there only a mail can tell.
_EMAIL = re.compile(r"[^\s@<>\"',;:\\\x00-\x1f\x7f]+@[^\s@<>\"',;:\\\x00-\x1f\x7f]+")
_MAX_EMAIL, _MAX_NAME = 254, 200
_NAME = f"give up to {_MAX_NAME} letters, digits and spaces"


class Accounts:
    """Makes and changes users and keys.  Blocking."""

    def __init__(self, database: Database) -> None:
        self.users, self.keys = Users(database), ApiKeys(database)

    def add_user(self, email: str, name: str | None, timezone: str, role: Role) -> User:
        """Create a user.

        Raises:
            InvalidError: Something of it is wrong; names each field.
            ConflictError: There is one with this address.
        """
        check_user({"email": email, "name": name, "timezone": timezone})
        return self.users.add(email, name, timezone, role)

    def edit_user(self, user_id: str, changes: dict[str, Any]) -> User:
        """Change a user; see ``Users.edit`` for the fields and errors.

        Raises:
            InvalidError: Something of it is wrong; names each field.
        """
        check_user(changes)
        return self.users.edit(user_id, changes)

    def add_key(
        self,
        user: User,
        name: str,
        scopes: Iterable[Scope] | None = None,
        expires_at: datetime | None = None,
        maker: Principal | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key; returns it with its text, which nobody can see again.

        Args:
            user: Whose.
            name: To tell it from others.
            scopes: What it allows; by default all that the user's role, and the maker's own key, allow.
            expires_at: When it ends; None for never.
            maker: Who makes it; None for whoever has the data folder.

        Raises:
            InvalidError: Something of it is wrong; names each field.
            NotAuthorizedError: It would allow more than the maker's own key does.
        """
        most = user.role.scopes if maker is None else user.role.scopes & maker.scopes
        wanted = most if scopes is None else frozenset(scopes)
        _check_key(user, name, wanted, expires_at)
        if maker is not None and (beyond := wanted - maker.scopes):
            listed = ", ".join(sorted(beyond))
            raise NotAuthorizedError(f"A key can only make keys that allow what it allows itself; it lacks {listed}.")
        end = None if maker is None or maker.key_id is None else self.keys.expiry_of(maker.key_id)
        if end is not None and (expires_at is None or expires_at > end):
            problem = Problem(
                "expires_at", "is later than the end of your own key", f"give {end:%Y-%m-%dT%H:%M:%SZ} at most"
            )
            raise InvalidError("The key was refused.", [problem])
        text = new_key_text()
        key = _key(user.id, name, text.prefix, wanted, expires_at)
        self.keys.add(key, hash_secret(text.secret))
        return key, str(text)

    def make_setup_token(self) -> str | None:
        """Make a one-time token in place of the one before; None where there is a key already."""
        if self.keys.any_made():
            return None
        self.users.ensure_default()
        text = new_key_text()
        token = _key(DEFAULT_USER_ID, "setup", text.prefix, frozenset(), clock.now() + _SETUP_TIME, is_setup=True)
        self.keys.replace_setup(token, hash_secret(text.secret))
        return str(text)

    def claim(self, token: str, name: str) -> tuple[ApiKey, str]:
        """Exchange a one-time token for the first key of the server's owner; returns it with its text.

        Raises:
            NotAuthenticated: It is none, or it has expired or been used.
            InvalidError: The name is none.
        """
        problems = _name_problems(name)
        if problems:
            raise InvalidError("The key was refused.", problems)
        parsed = parse_key_text(token)
        stored = None if parsed is None else self.keys.find(parsed.prefix)
        if (
            parsed is None
            or stored is None
            or not stored.key.is_setup
            or not stored.key.is_valid(clock.now())
            or not is_secret(parsed.secret, stored.hash)
        ):
            raise _BAD_TOKEN
        text = new_key_text()
        key = _key(stored.key.user_id, name, text.prefix, frozenset(Scope), None)
        if not self.keys.claim(stored.key.id, key, hash_secret(text.secret)):
            raise _BAD_TOKEN
        return key, str(text)


_BAD_TOKEN = NotAuthenticated(
    "This is not the server's one-time token, or it has been used or is older than a day; a new start prints another."
)


def check_user(fields: dict[str, Any]) -> None:
    """Check some fields of a user.

    Raises:
        InvalidError: Names each that is wrong.
    """
    problems: list[Problem] = []
    email, name, timezone = fields.get("email"), fields.get("name"), fields.get("timezone")
    if email is not None and (len(email) > _MAX_EMAIL or _EMAIL.fullmatch(email) is None):
        problems.append(Problem("email", "is no mail address", "write it like ann@example.org"))
    if name is not None and (len(name) > _MAX_NAME or not name.isprintable()):
        problems.append(
            Problem("name", f"is longer than {_MAX_NAME} characters, or holds some that do not print", _NAME)
        )
    if timezone is not None and not _is_zone(timezone):
        problems.append(Problem("timezone", "is no time zone", "give an IANA name like Europe/Berlin"))
    if problems:
        raise InvalidError("The user was refused.", problems)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _name_problems(name: str) -> list[Problem]:
    if name.strip() and len(name) <= _MAX_NAME and name.isprintable():
        return []
    return [Problem("name", f"has no or more than {_MAX_NAME} characters, or some that do not print", _NAME)]


def _check_key(user: User, name: str, scopes: frozenset[Scope], expires_at: datetime | None) -> None:
    problems = _name_problems(name)
    if not scopes:
        problems.append(Problem("scopes", "there are none", f"choose from {', '.join(Scope)}"))
    if beyond := scopes - user.role.scopes:
        listed = ", ".join(sorted(beyond))
        fix = f"choose from {', '.join(sorted(user.role.scopes))}"
        problems.append(Problem("scopes", f"a {user.role} can have no key that allows {listed}", fix))
    if expires_at is not None and expires_at <= clock.now():
        problems.append(Problem("expires_at", "lies in the past", "give a time that is still to come, or none"))
    if problems:
        raise InvalidError("The key was refused.", problems)


def _key(
    user_id: str,
    name: str,
    prefix: str,
    scopes: frozenset[Scope],
    expires_at: datetime | None,
    *,
    is_setup: bool = False,
) -> ApiKey:
    now = clock.from_ms(clock.now_ms())
    return ApiKey(
        id=new_id(),
        user_id=user_id,
        name=name,
        prefix=prefix,
        scopes=scopes,
        is_setup=is_setup,
        expires_at=expires_at,
        last_used_at=None,
        revoked_at=None,
        created_at=now,
    )
