from __future__ import annotations

from pathlib import Path

import pytest

from autogpt_server.data.urls import parse_database_url
from autogpt_server.errors import InvalidError

DATA = Path("/srv/data")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:database.db", "/srv/data/database.db"),
        ("file:./sub/database.db", "/srv/data/sub/database.db"),
        ("file:/var/lib/a.db", "/var/lib/a.db"),
        ("file:///var/lib/a.db", "/var/lib/a.db"),
        ("file:a.db?connection_limit=1", "/srv/data/a.db"),
        ("file:50%25 off.db", "/srv/data/50%25 off.db"),
        ("sqlite:///a.db", "/srv/data/a.db"),
        ("sqlite:////var/lib/a.db", "/var/lib/a.db"),
        ("sqlite+pysqlite:///a.db", "/srv/data/a.db"),
    ],
)
def test_a_sqlite_address_names_a_file_below_the_data_folder(text: str, path: str):
    url = parse_database_url(text, DATA)

    assert (url.provider, url.path) == ("sqlite", Path(path))
    assert url.prisma == f"file:{path}"
    assert url.sqlalchemy == f"sqlite+pysqlite:///{path}"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_a_postgresql_address_is_given_in_both_forms(scheme: str):
    url = parse_database_url(f"{scheme}://me:p%40ss@db.example:6432/agents?sslmode=require&schema=Mine", DATA)

    assert (url.provider, url.path, url.schema) == ("postgresql", None, "Mine")
    assert url.prisma == "postgresql://me:p%40ss@db.example:6432/agents?sslmode=require&schema=Mine"
    assert url.sqlalchemy == "postgresql+psycopg://me:p%40ss@db.example:6432/agents?sslmode=require"
    assert url.libpq == "postgresql://me:p%40ss@db.example:6432/agents?sslmode=require"


def test_parameters_of_prisma_alone_never_reach_the_driver():
    url = parse_database_url("postgres://h/d?pgbouncer=true&connection_limit=1&application_name=a b", DATA)

    assert url.sqlalchemy == "postgresql+psycopg://h/d?application_name=a%20b"
    assert not url.prepared


@pytest.mark.parametrize(
    ("schema", "search_path"), [("", None), ("public", None), ("mine", '"mine"'), ('a"b c\\', '"a""b\\ c\\\\"')]
)
def test_a_schema_is_quoted_for_the_search_path(schema: str, search_path: str | None):
    url = parse_database_url("postgres://h/d", DATA)

    given = type(url)("postgresql", url.sqlalchemy, url.prisma, schema=schema or None)
    assert given.search_path == search_path
    assert given.quoted_schema == {'a"b c\\': '"a""b c\\"'}.get(schema, search_path)


def test_a_password_is_not_shown():
    assert "secret" not in repr(parse_database_url("postgres://me:secret@h/d", DATA))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "database.db",
        "mysql://me:secret@h/d",
        "file:",
        "file::memory:",
        "file:folder/",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/a.db",
        "postgresql://me:secret@h",
        "postgresql://me:secret@h:port/d",
        "postgresql://me:secret@h:0/d",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(text: str):
    with pytest.raises(InvalidError) as refused:
        parse_database_url(text, DATA)

    assert refused.value.problems[0].path == "database_url"
    assert "secret" not in str(refused.value)
