"""Identifiers: UUIDv7 for everything we make, so that order by id is order by age."""

import re

import uuid_utils

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

#: The one user of a server on which no users are configured.
DEFAULT_USER_ID = "3e53486c-cf57-477e-ba2a-cb02dc828e1a"


def new_id() -> str:
    """Make a UUIDv7 (RFC 9562, section 5.7) in its canonical 36-character form."""
    return str(uuid_utils.uuid7())


def id_ms(text: str) -> int:
    """Tell when a UUIDv7 was made, in milliseconds since 1970."""
    return int(text[:8] + text[9:13], 16)


def least_id(ms: int) -> str:
    """Give a text that sorts before every UUIDv7 made at or after a time, in milliseconds since 1970."""
    digits = f"{max(0, ms):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def is_uuid(text: str) -> bool:
    """Tell whether the text is a UUID of any version in its canonical 36-character form."""
    return _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """Give a UUID in lower case, in which all of them are kept; any other text as it is."""
    return text.lower() if is_uuid(text) else text


def node_execution_id(execution_id: str, ordinal: int) -> str:
    """Name a node execution by its execution and by the how-manieth it was opened there, from 0."""
    return f"{execution_id}.{ordinal}"
