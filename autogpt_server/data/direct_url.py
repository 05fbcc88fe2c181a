"""``DIRECT_URL``: the way around a pooler, for what one cannot carry (migrations, job stores, ``LISTEN``)."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from autogpt_server.data.urls import DatabaseUrl, parse_database_url
from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.settings import Settings

#: Seconds that opening a connection may take.
_CONNECT_SECONDS = 10
_FIX = "let both name one database and one schema, or leave DIRECT_URL out: it is DATABASE_URL then"


def direct_database_url(settings: Settings) -> DatabaseUrl:
    """Read the address without a pooler: ``DIRECT_URL``, or ``DATABASE_URL`` where that is not given."""
    return parse_database_url(settings.direct_url or settings.database_url, settings.data_dir)


def check_direct_url(settings: Settings) -> None:
    """See that both addresses lead to the same tables, however they are spelled.

    Raises:
        InvalidError: They do not: schedules and their job rows would stand in two places.
        Unavailable: One of them does not answer.
    """
    if settings.direct_url is None or settings.direct_url == settings.database_url:
        return
    direct, usual = direct_database_url(settings), parse_database_url(settings.database_url, settings.data_dir)
    if direct.provider != usual.provider:
        raise _differ(f"leads to {_kind(direct)}, DATABASE_URL to {_kind(usual)}")
    if direct.path is not None and usual.path is not None:
        if direct.path.resolve() != usual.path.resolve():
            raise _differ(f"is the file {direct.path}, DATABASE_URL the file {usual.path}")
        return
    _compare(direct, usual)


@dataclass(frozen=True)
class _Place:
    database: str
    schema: str | None

    def __str__(self) -> str:
        return f"database {self.database!r}, schema {self.schema!r}"


def _compare(direct: DatabaseUrl, usual: DatabaseUrl) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(_transaction(direct, "DIRECT_URL"))
        second = stack.enter_context(_transaction(usual, "DATABASE_URL"))
        places = _place(first, direct), _place(second, usual)
        # Names say little: two servers may have databases of one name, and one server many names.  What is locked in
        # one database nobody else can lock there, and needs no rights.
        key = secrets.randbits(62)
        first.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
        is_free = second.execute("SELECT pg_try_advisory_xact_lock(%s)", (key,)).fetchone()[0]
    if is_free and places[0] == places[1]:
        raise _differ(f"leads to {places[0]}, DATABASE_URL to those of another PostgreSQL server")
    if is_free or places[0] != places[1]:
        raise _differ(f"leads to {places[0]}; DATABASE_URL to {places[1]}")


@contextmanager
def _transaction(url: DatabaseUrl, setting: str) -> Generator[Any]:
    import psycopg  # a SQLite server never pays for it

    arguments = url.schema_arguments
    if not url.prepared:
        arguments["prepare_threshold"] = None
    try:
        with psycopg.connect(url.libpq, connect_timeout=_CONNECT_SECONDS, **arguments) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Unavailable(f"the database of {setting} does not answer: {error}") from error


def _place(connection: Any, url: DatabaseUrl) -> _Place:
    database, schema = connection.execute("SELECT current_database(), current_schema()").fetchone()
    # One that is still to be made is none yet.
    return _Place(database, schema or url.schema)


def _kind(url: DatabaseUrl) -> str:
    return "SQLite" if url.provider == "sqlite" else "PostgreSQL"


def _differ(reason: str) -> InvalidError:
    return InvalidError(
        "DIRECT_URL and DATABASE_URL do not lead to the same tables.", [Problem("DIRECT_URL", reason, _FIX)]
    )
