"""The columns that hold encrypted texts: whether there are any, and how they come under another key.

Whoever writes such a column encrypts inside the transaction that writes it, which ``sealing`` begins.  So an old key
can be dropped in a transaction that holds the keys alone and finds nothing under it: nobody is about to write more.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.file_lock import FileLock
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.service.crash_points import crash_point
from autogpt_server.vault.keyring import CannotDecrypt, Keyring, new_key

T = TypeVar("T")


class Place(NamedTuple):
    """A column that is encrypted, and the key of its table."""

    table: str
    key: str
    column: str


COLUMNS = (
    Place("NotificationTarget", "id", "address"),
    Place("NotificationTarget", "id", "secret"),
    Place("Credential", "id", "secret"),
    Place("OAuthLogin", "stateHash", "verifier"),
)
_ALL = 'SELECT "{key}","{column}" FROM "{table}" WHERE "{column}" IS NOT NULL'
#: Rows of one transaction.
_BATCH = 200
_LOST = "put the file with its key back, or delete it"
#: Seconds that one waits for another who renews the key.
_LOCK_SECONDS = 10.0
#: "seal" in ASCII: the key of PostgreSQL's advisory lock around encrypting.
_ADVISORY_LOCK = 0x7365616C


def hold_keys(db: Database, c: Connection, *, alone: bool = False) -> None:
    """Keep keys from being dropped until this transaction ends; or, alone, keep others from encrypting until then."""
    # On SQLite, whoever writes is alone anyway.
    if db.provider == "postgresql":
        c.execute(f"SELECT pg_advisory_xact_lock{'' if alone else '_shared'}({_ADVISORY_LOCK})")


@contextmanager
def sealing(db: Database, keyring: Keyring) -> Generator[Connection]:
    """Lend a connection inside a transaction, as ``Database.write`` does, in which to encrypt and to write that."""
    # Before the transaction: the first key is made where nothing is encrypted yet, which the database is asked.
    _ = keyring.keys
    with db.write() as c:
        hold_keys(db, c)
        yield c


def has_sealed(db: Database) -> bool:
    """Tell whether an encrypted text is stored."""
    with db.read() as c:
        return any(
            c.execute(f'SELECT 1 FROM "{table}" WHERE "{column}" IS NOT NULL LIMIT 1').first() is not None
            for table, _, column in COLUMNS
        )


def read_sealed(read: Callable[[], T]) -> T:
    """Read rows and decrypt what they hold; once more where their key was dropped between the two.

    Raises:
        CannotDecrypt: The key is lost.
    """
    try:
        return read()
    except CannotDecrypt:
        return read()


def rotate_key(db: Database, keyring: Keyring, tell: Callable[[str], None]) -> int:
    """Encrypt everything under a new key, then drop the old ones.  Harmless beside servers at work; where it is killed
    nothing is lost, and it may be begun again.

    Where a setting gives the keys, everything comes under its first one, and the others may be dropped afterwards.

    Args:
        db: Where the encrypted texts are.
        keyring: Of the server.
        tell: Takes lines about what is done.

    Returns:
        How many texts were encrypted anew.

    Raises:
        InvalidError: Texts are under keys that are lost; names them, and changes nothing.
        Unavailable: Somebody else renews the key at this moment.
    """
    keyring.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Two of them at once would drop each other's new key.
    with FileLock(keyring.path.with_name("rotating.lock")).hold(_LOCK_SECONDS):
        return _rotate_key(db, keyring, tell)


def unreadable(db: Database, keyring: Keyring) -> list[str]:
    """Name what is encrypted under a key that is not here, by table and id."""
    found: list[str] = []
    with db.read() as c:
        for place in COLUMNS:
            for row_key, token in _tokens(c, place):
                try:
                    keyring.decrypt(token)
                except CannotDecrypt:
                    found.append(f"{place.table} {row_key}")
    return found


def _rotate_key(db: Database, keyring: Keyring, tell: Callable[[str], None]) -> int:
    # Before a key is added: with the wrong file it would be one more wrong key.
    if lost := unreadable(db, keyring):
        problems = [Problem(one, "is under a key that is not here", _LOST) for one in lost[:20]]
        raise InvalidError(f"{len(lost):,} secrets cannot be opened by the keys of this server.", problems)
    if not keyring.is_given:
        keyring.replace([new_key(), *keyring.keys])
        tell("a new key encrypts from now on")
        crash_point("keys.added")
    count = 0
    for place in COLUMNS:
        after = ""
        while (last := _renew_batch(db, keyring, place, after)) is not None:
            after, renewed = last
            count += renewed
            crash_point("keys.renewed")
    while True:
        with db.write() as c:
            hold_keys(db, c, alone=True)
            renewed = sum(_renew(db, c, keyring, place, _tokens(c, place)) for place in COLUMNS)
            if not renewed and not keyring.is_given:
                keyring.replace(keyring.keys[:1])
        count += renewed
        if not renewed:
            crash_point("keys.dropped")
            return count


def _renew_batch(db: Database, keyring: Keyring, place: Place, after: str) -> tuple[str, int] | None:
    """Encrypt the next rows anew, those that need it; returns the last of them and how many, or None at the end."""
    with db.write() as c:
        hold_keys(db, c)
        text = f'{_ALL.format(**place._asdict())} AND "{place.key}" > ? ORDER BY "{place.key}" LIMIT {_BATCH}'
        tokens = [(row[0], row[1]) for row in c.execute(db.sql(text), (after,)).all()]
        renewed = _renew(db, c, keyring, place, tokens)
    return (tokens[-1][0], renewed) if tokens else None


def _tokens(c: Connection, place: Place) -> list[tuple[str, str]]:
    """Read everything of a column that is encrypted, with the keys of the rows."""
    return [(row[0], row[1]) for row in c.execute(_ALL.format(**place._asdict())).all()]


def _renew(db: Database, c: Connection, keyring: Keyring, place: Place, tokens: list[tuple[str, str]]) -> int:
    """Encrypt those anew that are not under the key that encrypts now; returns how many."""
    # Not where somebody has written something else meanwhile: that is under the new key.
    text = db.sql(f'UPDATE "{place.table}" SET "{place.column}" = ? WHERE "{place.key}" = ? AND "{place.column}" = ?')
    stale = [(row_key, token) for row_key, token in tokens if not keyring.is_current(token)]
    for row_key, token in stale:
        c.execute(text, (keyring.encrypt(keyring.decrypt(token)), row_key, token))
    return len(stale)
