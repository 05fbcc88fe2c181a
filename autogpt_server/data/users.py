"""Users.  Without configured users there is one, and the server listens on loopback only."""

from __future__ import annotations

import contextlib

from prisma import Prisma
from prisma.errors import UniqueViolationError

from autogpt_server.model.ids import DEFAULT_USER_ID

_DEFAULT_EMAIL = "default@localhost"


async def ensure_default_user(db: Prisma) -> None:
    """Create the one local user unless it exists.  Safe to repeat, also by several processes at once."""
    if await db.user.find_unique(where={"id": DEFAULT_USER_ID}) is None:
        # Another process was quicker.
        with contextlib.suppress(UniqueViolationError):
            await db.user.create(data={"id": DEFAULT_USER_ID, "email": _DEFAULT_EMAIL, "name": "Default"})
