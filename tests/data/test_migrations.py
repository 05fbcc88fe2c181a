from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.migration_files import FOLDER, list_migrations
from autogpt_server.data.migrations import downgrade, migrate, status
from autogpt_server.errors import InvalidError, Unavailable
from autogpt_server.settings import Settings
from tests.make_settings import make_settings
from tests.postgres_server import PostgresServer

ALL = [migration.name for migration in list_migrations("sqlite")]
FIRST = ALL[0]
USER = """INSERT INTO "User" ("id", "email", "name", "createdAt", "updatedAt") VALUES ('u', 'a@b.c', 'é', {0}, {0})"""
BLOCK = """
INSERT INTO "AgentBlock" ("name", "id", "inputSchema", "outputSchema", "createdAt", "updatedAt")
VALUES ('b', 'b', '', '', {0}, {0})
"""
NODE = """
INSERT INTO "AgentNode" ("id", "agentGraphId", "agentGraphVersion", "agentBlockName") VALUES ('x', 'g', 1, 'b')
"""
GRAPH = """
INSERT INTO "AgentGraph" ("id", "version", "name", "userId", "createdAt", "updatedAt")
VALUES ('g', 1, 'n', 'u', {0}, {0})
"""


@pytest.fixture
def new_settings(tmp_path: Path, empty_database_url: str) -> Settings:
    return make_settings(tmp_path, empty_database_url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may add to."""
    return Path(shutil.copytree(FOLDER, tmp_path / "migrations"))


def add_migration(folder: Path, name: str, up: str, down: str = "") -> None:
    for provider in ("sqlite", "postgresql"):
        (folder / provider / name).mkdir()
        (folder / provider / name / "migration.sql").write_text(up)
        (folder / provider / name / "down.sql").write_text(down)


def query(settings: Settings, sql: str) -> list[Any]:
    database = Database.from_settings(settings)
    try:
        with database.write() as c:
            result = c.execute(sql)
            return result.all()
    finally:
        database.close()


def add_graph(settings: Settings) -> None:
    moment = "1750000000000" if "file:" in settings.database_url else "'2025-06-15 15:06:40'"
    for row in (USER, GRAPH, BLOCK, NODE):
        query(settings, row.format(moment))


def test_the_first_start_makes_everything_and_the_second_nothing(new_settings: Settings):
    assert status(new_settings).pending == tuple(ALL)

    assert migrate(new_settings) == ALL
    assert migrate(new_settings) == []

    found = status(new_settings)
    assert (found.applied, found.pending, found.problems) == (tuple(ALL), (), ())


def test_migrations_are_recorded_as_prisma_records_them(settings: Settings):
    sql = f"""SELECT "checksum", "rolled_back_at", "applied_steps_count", "logs", length("id")
              FROM "_prisma_migrations" WHERE "migration_name" = '{FIRST}' AND "finished_at" >= "started_at" """
    provider = "sqlite" if "file:" in settings.database_url else "postgresql"
    checksum = hashlib.sha256((FOLDER / provider / FIRST / "migration.sql").read_bytes()).hexdigest()

    assert query(settings, sql) == [(checksum, None, 1, None, 36)]


def test_a_change_up_and_down_keeps_the_data(settings: Settings, folder: Path):
    add_graph(settings)
    add_migration(
        folder,
        "20300101000000_nickname",
        'ALTER TABLE "User" ADD COLUMN "nickname" TEXT; UPDATE "User" SET "nickname" = \'nick; name\';',
        'ALTER TABLE "User" DROP COLUMN "nickname";',
    )

    assert migrate(settings, folder=folder) == ["20300101000000_nickname"]
    assert query(settings, 'SELECT "name", "nickname" FROM "User"') == [("é", "nick; name")]

    assert downgrade(settings, folder=folder) == ["20300101000000_nickname"]
    assert [row[:3] for row in query(settings, 'SELECT * FROM "User"')] == [("u", "a@b.c", "é")]
    assert migrate(settings, folder=folder) == ["20300101000000_nickname"]
    assert query(settings, 'SELECT count(*) FROM "_prisma_migrations"') == [(len(ALL) + 2,)]


def test_a_table_that_is_made_anew_keeps_the_rows_that_refer_to_it(sqlite_settings: Settings, folder: Path):
    add_graph(sqlite_settings)
    table = query(sqlite_settings, "SELECT sql FROM sqlite_master WHERE name = 'AgentGraph'")[0][0] + ";"
    add_migration(
        folder,
        "20300101000000_redefine",
        "PRAGMA defer_foreign_keys=ON;\nPRAGMA foreign_keys=OFF;\n"
        + table.replace('"AgentGraph" (', '"new_AgentGraph" (', 1)
        + '\nINSERT INTO "new_AgentGraph" SELECT * FROM "AgentGraph";\nDROP TABLE "AgentGraph";\n'
        'ALTER TABLE "new_AgentGraph" RENAME TO "AgentGraph";\n'
        "PRAGMA foreign_keys=ON;\nPRAGMA defer_foreign_keys=OFF;\n",
    )

    migrate(sqlite_settings, folder=folder)

    assert query(sqlite_settings, 'SELECT "id" FROM "AgentNode"') == [("x",)]
    assert query(sqlite_settings, 'SELECT "id" FROM "AgentGraph"') == [("g",)]
    assert query(sqlite_settings, "PRAGMA foreign_key_check") == []


def test_what_a_process_died_of_waits_in_quarantine_after_the_migration_of_lanes(new_settings: Settings, folder: Path):
    for later in (path for name in ALL[1:] for path in folder.glob(f"*/{name}")):
        shutil.rmtree(later)
    migrate(new_settings, folder=folder)
    add_graph(new_settings)
    for deaths in (0, 1):
        query(
            new_settings,
            f"""INSERT INTO "AgentGraphExecution"
            ("id", "agentGraphId", "agentGraphVersion", "userId", "status", "deaths")
            VALUES ('e{deaths}', 'g', 1, 'u', 'QUEUED', {deaths})""",
        )

    assert migrate(new_settings) == ALL[1:]
    assert query(new_settings, 'SELECT "id", "lane" FROM "AgentGraphExecution" ORDER BY "id"') == [
        ("e0", ""),
        ("e1", "quarantine"),
    ]
    assert downgrade(new_settings, to=FIRST) == ALL[:0:-1]
    assert query(new_settings, 'SELECT "id", "deaths" FROM "AgentGraphExecution" ORDER BY "id"') == [
        ("e0", 0),
        ("e1", 1),
    ]


def test_everything_can_be_taken_back(settings: Settings):
    add_graph(settings)

    assert downgrade(settings, len(ALL)) == ALL[::-1]

    assert status(settings).applied == ()
    tables = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }[Database.from_settings(settings).provider]
    # Those of the job stores stay: another deployment may have made them.
    stay = {("_prisma_migrations",), ("apscheduler_jobs",), ("apscheduler_jobs_batched_notifications",)}
    assert set(query(settings, tables)) == stay
    assert migrate(settings) == ALL


def test_going_back_can_name_what_to_keep(settings: Settings, folder: Path):
    for number in (1, 2, 3):
        name = f"2030010100000{number}_t{number}"
        add_migration(folder, name, f"CREATE TABLE t{number} (a INT);", f"DROP TABLE t{number};")
    migrate(settings, folder=folder)

    assert downgrade(settings, to="20300101000001_t1", folder=folder) == ["20300101000003_t3", "20300101000002_t2"]
    assert downgrade(settings, to="20300101000001_t1", folder=folder) == []
    with pytest.raises(InvalidError, match="20300101000003_t3 is not applied"):
        downgrade(settings, to="20300101000003_t3", folder=folder)
    assert downgrade(settings, 99, folder=folder) == ["20300101000001_t1", *ALL[::-1]]


def test_a_database_of_a_newer_release_is_refused(settings: Settings, folder: Path):
    add_migration(folder, "20300101000000_later", "CREATE TABLE later (a INT);")
    migrate(settings, folder=folder)

    for act in (migrate, downgrade):
        with pytest.raises(InvalidError) as refused:
            act(settings)
        problem = refused.value.problems[0]
        assert problem.path == "20300101000000_later"
        assert "newer release" in problem.message
        assert "autogpt migrate down" in (problem.fix or "")
    assert status(settings).problems[0].path == "20300101000000_later"


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(settings: Settings, folder: Path):
    for path in folder.glob("*/*/migration.sql"):
        path.write_text(path.read_text() + "-- changed\n")

    with pytest.raises(InvalidError, match="was changed after it had been applied"):
        migrate(settings, folder=folder)


def test_an_attempt_of_another_tool_that_failed_is_refused(settings: Settings):
    query(settings, 'UPDATE "_prisma_migrations" SET "finished_at" = NULL')

    with pytest.raises(InvalidError, match="begun by another tool"):
        migrate(settings)


def test_a_migration_that_fails_leaves_nothing_of_itself(settings: Settings, folder: Path):
    add_migration(folder, "20300101000000_good", "CREATE TABLE good (a INT);")
    add_migration(folder, "20300101000001_bad", "CREATE TABLE bad (a INT); INSERT INTO missing VALUES (1);")

    with pytest.raises(InvalidError) as failed:
        migrate(settings, folder=folder)

    assert failed.value.problems[0].path == "20300101000001_bad"
    assert "missing" in failed.value.problems[0].message
    assert status(settings, folder=folder).pending == ("20300101000001_bad",)
    assert query(settings, "SELECT count(*) FROM good") == [(0,)]
    query(settings, "CREATE TABLE bad (a INT)")


def test_a_migration_that_breaks_references_leaves_nothing_of_itself(settings: Settings, folder: Path):
    add_graph(settings)
    add_migration(folder, "20300101000000_bad", """DELETE FROM "User" """)

    with pytest.raises(InvalidError, match=r"(?i)refer"):
        migrate(settings, folder=folder)

    assert query(settings, 'SELECT count(*) FROM "User"') == [(1,)]


def test_processes_that_start_at_once_migrate_once(new_settings: Settings):
    code = (
        "import sys; from pathlib import Path; from autogpt_server.data.migrations import migrate; "
        "from autogpt_server.settings import Settings; "
        "settings = Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2], _env_file=None); "
        "print('ready', flush=True); sys.stdin.readline(); print(len(migrate(settings)))"
    )
    command = [sys.executable, "-c", code, str(new_settings.data_dir), new_settings.database_url]
    processes = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=30)[0].strip() for process in processes]

    assert sum(map(int, answers)) == len(ALL)
    assert [process.returncode for process in processes] == [0, 0, 0, 0]


def test_a_database_that_is_away_is_an_outage(tmp_path: Path):
    (tmp_path / "file").touch()

    for url in ("postgresql://me:secret@127.0.0.1:1/d", f"file:{tmp_path}/file/a.db"):
        with pytest.raises(Unavailable) as away:
            migrate(make_settings(tmp_path, url))
        assert "secret" not in str(away.value)


def test_the_direct_address_wins_where_a_pooler_stands_between(tmp_path: Path, postgres_server: PostgresServer):
    with postgres_server.database() as url:
        # As little as a pooler lets migrate, this address does.
        usual = f"{url}?options=-c%20default_transaction_read_only%3Don"

        assert migrate(make_settings(tmp_path, usual, direct_url=url)) == ALL


def test_looking_whether_there_is_something_to_do_imports_little(tmp_path: Path, sqlite_url: str):
    code = (
        "import sys; from pathlib import Path; from autogpt_server.data.migrations import migrate; "
        "from autogpt_server.settings import Settings; "
        "migrate(Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2], _env_file=None)); "
        "print([m for m in ('sqlalchemy', 'psycopg', 'prisma') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path), sqlite_url]

    assert subprocess.check_output(command, text=True).strip() == "[]"


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path):
    (tmp_path / "database.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(InvalidError, match=r"database\.db.*not a database.*backup"):
        migrate(make_settings(tmp_path, "file:database.db"))
