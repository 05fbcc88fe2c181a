"""A backup holds everything as it was at one moment; a restore is all of it or nothing, into either database."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.data.backup import restore as restore_module
from autogpt_server.data.backup.archive import Archive, Writer
from autogpt_server.data.backup.backup import back_up
from autogpt_server.data.backup.restore import restore
from autogpt_server.data.backup.tables import LEFT_OUT, TABLES
from autogpt_server.data.database import Database
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import InvalidError, Unavailable
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.settings import Settings
from tests.data.schedule_rows import make_schedule, store
from tests.faults.test_failing_statements import Surroundings


def contents(database: Database, *, without: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    with database.read() as c:
        return {
            table: sorted(map(str, c.execute(f'SELECT * FROM "{table}"').all()))
            for table in TABLES
            if table not in without
        }


@pytest.fixture
def full(database: Database) -> Surroundings:
    """A database with something of much."""
    surroundings = Surroundings(database)
    surroundings.record_ends()
    accounts = Accounts(database)
    accounts.add_key(
        accounts.add_user("ann@example.org", "Ann \u00fc", "UTC", accounts.users.get(DEFAULT_USER_ID).role), "x"
    )
    store(
        database,
        make_schedule(surroundings.graph_id),
        make_schedule(surroundings.graph_id, is_enabled=False, next_run_at=None),
    )
    return surroundings


def test_every_table_is_in_a_backup(database: Database):
    names = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        if database.provider == "sqlite"
        else "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
    )
    with database.read() as c:
        assert set(c.execute(names).scalars()) == {*TABLES, *LEFT_OUT}


def test_what_comes_back_is_what_was_there(full: Surroundings, database: Database, settings: Settings, tmp_path: Path):
    # What waited to be told waits no more.
    before, file = contents(database, without=("Notification",)), tmp_path / "backup.zip"
    manifest = back_up(settings, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert manifest.tables["User"].rows == 2
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == ["backup.zip"]
    with database.write() as c:
        c.execute('DELETE FROM "AgentScheduleSlot"')
        c.execute('DELETE FROM "AgentExecutionSchedule"')
    full.accept(3)
    done = restore(settings, file, enables_schedules=True, resumes_executions=True)
    assert done.rows == sum(part.rows for part in manifest.tables.values())
    assert contents(database, without=("Notification",)) == before
    with database.read() as c:
        assert c.execute('SELECT COUNT(*) FROM "Executor"').scalar_one() == 0


def test_by_default_nothing_goes_on_by_itself(
    full: Surroundings, database: Database, settings: Settings, tmp_path: Path
):
    back_up(settings, tmp_path / "b")
    done = restore(settings, tmp_path / "b")
    assert (done.paused, done.stopped) == (1, 2)
    with database.read() as c:
        statuses = set(c.execute('SELECT "status" FROM "AgentGraphExecution"').scalars())
        assert statuses == {"COMPLETED", "FAILED", "TERMINATED"}
        assert c.execute('SELECT COUNT(*) FROM "AgentNodeExecution" WHERE "sequence" IS NULL').scalar_one() == 0
        assert c.execute("SELECT COUNT(*) FROM apscheduler_jobs WHERE next_run_time IS NOT NULL").scalar_one() == 0
    schedules = Schedules(database, lambda ids: None).list(DEFAULT_USER_ID, limit=10).items
    assert [one.is_enabled for one in schedules] == [False, False]
    assert any("restored from a backup of" in (one.paused_reason or "") for one in schedules)


def test_a_backup_of_one_kind_fits_into_the_other(
    sqlite_settings: Settings, postgresql_settings: Settings, tmp_path: Path
):
    for source, target in ((sqlite_settings, postgresql_settings), (postgresql_settings, sqlite_settings)):
        first, second = Database.from_settings(source), Database.from_settings(target)
        if source is sqlite_settings:
            Surroundings(first).record_ends()
            store(first, make_schedule("g"))
        file = tmp_path / f"{source.database_url[:4]}.zip"
        manifest = back_up(source, file)
        restore(target, file, enables_schedules=True, resumes_executions=True)
        again = back_up(target, tmp_path / "again.zip")
        (tmp_path / "again.zip").unlink()
        for table, part in manifest.tables.items():
            assert again.tables[table].rows == part.rows, table
        first.close()
        second.close()


def test_writers_go_on_while_it_is_written_and_it_is_of_one_moment(
    full: Surroundings, database: Database, settings: Settings, tmp_path: Path
):
    stopping, accepted = threading.Event(), list[str]()

    def write() -> None:
        while not stopping.is_set():
            accepted.extend(full.accept(2))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(3):
            back_up(settings, tmp_path / str(n))
    finally:
        stopping.set()
        writer.join()
    counts: list[int] = []
    for n in range(3):
        with Archive(tmp_path / str(n)) as archive:
            counts.append(archive.manifest.tables["AgentGraphExecution"].rows)
    assert len(accepted) > 4
    # Two come with each commit: an odd number would be half of one.
    assert [(count - counts[0]) % 2 for count in counts] == [0, 0, 0]
    assert counts == sorted(counts)


@pytest.mark.parametrize("where", ["restore.emptied", "restore.filled", "restore.written"])
def test_a_restore_that_breaks_off_changes_nothing(
    full: Surroundings,
    database: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
):
    back_up(settings, tmp_path / "b")
    full.accept(1)
    before = contents(database)

    def die(name: str) -> None:
        if name == where:
            raise Unavailable("gone")

    monkeypatch.setattr(restore_module, "crash_point", die)
    with pytest.raises(Unavailable):
        restore(settings, tmp_path / "b")
    assert contents(database) == before


def test_a_damaged_or_foreign_file_is_refused_before_anything_is_touched(
    full: Surroundings, database: Database, settings: Settings, tmp_path: Path
):
    good = tmp_path / "good"
    back_up(settings, good)
    before, data = contents(database), good.read_bytes()
    for name, bad in {
        "nothing": b"", "text": b"hello", "cut": data[: len(data) // 2], "flipped": flipped(data),
        "missing": without(good, "tables/User.jsonl"), "newer": changed(good, tmp_path),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(InvalidError) as refused:
            restore(settings, tmp_path / name)
        assert refused.value.problems, name
    with pytest.raises(InvalidError):
        restore(settings, tmp_path / "not there")
    assert contents(database) == before


def flipped(data: bytes) -> bytes:
    at = data.index(b"tables/User.jsonl") + 60
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def without(path: Path, left_out: str) -> bytes:
    target = path.with_suffix(".without")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            if name != left_out:
                copy.writestr(name, source.read(name))
    return target.read_bytes()


def changed(path: Path, folder: Path) -> bytes:
    target = folder / "changed.zip"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            text = source.read(name)
            copy.writestr(name, text.replace(b'"migrations": [', b'"migrations": ["29990101000000_newer", '))
    return target.read_bytes()


def test_nothing_is_left_where_a_backup_cannot_be_written(
    full: Surroundings, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(InvalidError):
        back_up(settings, tmp_path / "no folder" / "b")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "there").mkdir()
    monkeypatch.setattr(Writer, "finish", full_disk)
    with pytest.raises(OSError):
        back_up(settings, tmp_path / "there" / "b")
    assert list((tmp_path / "there").iterdir()) == []


def test_what_cannot_be_read_again_does_not_replace_the_backup_before(
    full: Surroundings, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "b"
    back_up(settings, file)
    before = file.read_bytes()

    def damaged(_: Archive) -> None:
        raise InvalidError("damaged")

    monkeypatch.setattr(Archive, "verify", damaged)
    with pytest.raises(InvalidError, match="damaged"):
        back_up(settings, file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if ".b." in path.name] == []
