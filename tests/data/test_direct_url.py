"""Both addresses of the database must lead to the same tables, whatever they look like."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from autogpt_server.data.direct_url import check_direct_url
from autogpt_server.data.migrations import migrate
from autogpt_server.errors import InvalidError, Unavailable
from tests.make_settings import make_settings
from tests.postgres_server import PostgresServer, find_binaries


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.database() as url:
        yield url


def refusal(folder: Path, usual: str, direct: str) -> str:
    with pytest.raises(InvalidError) as refused:
        migrate(make_settings(folder, usual, direct_url=direct))
    (problem,) = refused.value.problems
    assert (problem.path, "leave DIRECT_URL out" in (problem.fix or "")) == ("DIRECT_URL", True)
    assert "DATABASE_URL" in problem.message
    return problem.message


def test_another_spelling_leads_to_the_same_tables(tmp_path: Path, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as c:
        c.execute('CREATE SCHEMA "Two words"')
    for usual, direct in (
        (url, url.replace("postgresql:", "postgres:").replace("127.0.0.1", "localhost")),
        (url, f"{url}?schema=public"),
        # Neither is there yet.
        (f"{url}?schema=new&pgbouncer=true", f"{url}?schema=new"),
        (f"{url}?schema=Two%20words", f"{url}?schema=Two+words&connection_limit=1"),
    ):
        check_direct_url(make_settings(tmp_path, usual, direct_url=direct))
    check_direct_url(make_settings(tmp_path, "postgresql://127.0.0.1:1/d"))
    (tmp_path / "link").symlink_to(tmp_path)
    check_direct_url(make_settings(tmp_path, "file:a.db", direct_url=f"sqlite:///{tmp_path}/link/a.db"))


def test_another_database_or_schema_is_refused_before_anything_is_made_there(
    tmp_path: Path, url: str, postgres_server: PostgresServer
) -> None:
    with postgres_server.database() as other:
        message = refusal(tmp_path, url, other)
        assert all(one.rpartition("/")[2] in message for one in (url, other))
    message = refusal(tmp_path, url, f"{url}?schema=mine")
    assert "schema 'mine'; DATABASE_URL to database" in message
    with psycopg.connect(url) as c:
        assert c.execute("SELECT to_regnamespace('mine'), to_regclass('_prisma_migrations')").fetchone() == (None, None)
    assert "leads to SQLite, DATABASE_URL to PostgreSQL" in refusal(tmp_path, url, "file:a.db")
    assert "b.db, DATABASE_URL the file" in refusal(tmp_path, "file:a.db", "file:b.db")
    assert list(tmp_path.glob("*.db")) == []


def test_a_database_of_the_same_name_on_another_server_is_refused(tmp_path: Path, url: str) -> None:
    binaries = find_binaries()
    assert binaries is not None
    with PostgresServer(binaries) as second:
        second._numbers = itertools.count(int(url.rpartition("_")[2]))
        with second.database() as other:
            assert url.rpartition("/")[2] == other.rpartition("/")[2]
            assert "another PostgreSQL server" in refusal(tmp_path, url, other)


def test_an_address_that_does_not_answer_is_an_outage_that_names_the_setting(tmp_path: Path, url: str) -> None:
    with pytest.raises(Unavailable, match="the database of DIRECT_URL") as away:
        check_direct_url(make_settings(tmp_path, url, direct_url="postgresql://me:secret@127.0.0.1:1/d"))
    assert "secret" not in str(away.value)
