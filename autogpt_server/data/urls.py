"""Database addresses: one text from the settings, in the forms that Prisma and SQLAlchemy each read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from autogpt_server.errors import InvalidError, Problem

#: Parameters that only Prisma understands; PostgreSQL's own library refuses to connect with one it does not know.
_PRISMA_ONLY = frozenset(
    {"schema", "connection_limit", "pool_timeout", "pgbouncer", "statement_cache_size", "socket_timeout"}
    | {"sslaccept", "sslidentity"}
)
_FORMS = "file:database.db, sqlite:///database.db or postgresql://user:password@host:5432/name"


@dataclass(frozen=True)
class DatabaseUrl:
    """Where the database is.  The texts may hold a password and are left out of ``repr``.

    ``path`` is the absolute database file, None for PostgreSQL; ``schema`` the PostgreSQL schema that was asked
    for; ``prepared`` is False where a pooler stands between that cannot keep prepared statements.
    """

    provider: Literal["sqlite", "postgresql"]
    sqlalchemy: str = field(repr=False)
    prisma: str = field(repr=False)
    path: Path | None = None
    schema: str | None = None
    prepared: bool = True

    @property
    def libpq(self) -> str:
        """The address as PostgreSQL's own library reads it."""
        return self.sqlalchemy.replace("postgresql+psycopg:", "postgresql:", 1)

    @property
    def quoted_schema(self) -> str | None:
        """The schema as SQL names it; None where the default finds it."""
        if self.schema in (None, "public"):
            return None
        return '"' + self.schema.replace('"', '""') + '"'

    @property
    def search_path(self) -> str | None:
        """The schema as an ``options`` parameter of a connection takes it; None where the default finds it."""
        quoted = self.quoted_schema
        return None if quoted is None else quoted.replace("\\", "\\\\").replace(" ", "\\ ")

    @property
    def schema_arguments(self) -> dict[str, Any]:
        """Arguments for psycopg, beside ``libpq``, that lead a connection to the schema."""
        path = self.search_path
        return {} if path is None else {"options": f"-c search_path={path}"}


def parse_database_url(text: str, data_dir: Path) -> DatabaseUrl:
    """Read a database address in Prisma's or SQLAlchemy's form.  Relative files start at ``data_dir``.

    Raises:
        InvalidError: It is neither; the message does not repeat the text, which may hold a password.
    """
    scheme, colon, _ = text.strip().partition(":")
    dialect, _, _ = scheme.partition("+")
    if colon and dialect in ("file", "sqlite"):
        return _parse_file(text.strip(), dialect, data_dir)
    if colon and dialect in ("postgresql", "postgres"):
        return _parse_postgresql(text.strip())
    raise _invalid("it is neither a SQLite nor a PostgreSQL address")


def _parse_file(text: str, dialect: str, data_dir: Path) -> DatabaseUrl:
    rest = text.partition(":")[2].partition("?")[0]
    if dialect == "sqlite":
        # sqlite:///x is relative and sqlite:////x absolute: the third slash only ends an empty host.
        if not rest.startswith("///"):
            raise _invalid("a SQLite address has three slashes and no host")
        name = rest.removeprefix("///")
    else:
        name = rest[2:] if rest.startswith("///") else rest
    if name in ("", ":memory:") or name.endswith("/"):
        raise _invalid("it names no file; a database in memory cannot be shared by several processes")
    path = Path(data_dir, name).expanduser().absolute()
    return DatabaseUrl("sqlite", f"sqlite+pysqlite:///{path}", f"file:{path}", path)


def _parse_postgresql(text: str) -> DatabaseUrl:
    try:
        parts = urlsplit(text)
        valid = parts.port is None or parts.port > 0
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid or not parts.path.strip("/"):
        raise _invalid("it names no database, or its host and port cannot be read")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    plain = {name: value for name, value in given.items() if name not in _PRISMA_ONLY}
    query = urlencode(plain, quote_via=quote)
    return DatabaseUrl(
        provider="postgresql",
        sqlalchemy=urlunsplit(("postgresql+psycopg", parts.netloc, parts.path, query, "")),
        prisma=urlunsplit(("postgresql", parts.netloc, parts.path, parts.query, "")),
        schema=given.get("schema") or None,
        prepared=given.get("pgbouncer") != "true",
    )


def _invalid(reason: str) -> InvalidError:
    return InvalidError("The database address cannot be used.", [Problem("database_url", reason, f"as in {_FORMS}")])
