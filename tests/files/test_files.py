"""Users' files: what is refused, what is left by a crash, and what a clean-up deletes."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autogpt_server.data.database import Database
from autogpt_server.data.users import Users
from autogpt_server.errors import BlockError, FileNotKnown, InvalidError, TooLarge, Unavailable
from autogpt_server.files import cleanup as cleanup_module
from autogpt_server.files.cleanup import GRACE, SteadyClock, clean_up
from autogpt_server.files.files import Files, UserStorage
from autogpt_server.files.mime import check_mime_type
from autogpt_server.model import clock
from autogpt_server.model.file import File, FileValue
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.settings import Settings
from autogpt_server.storage.store import Store

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89"


@pytest.fixture
def files(settings: Settings, database: Database) -> Files:
    Users(database).ensure_default()
    return Files(settings, database)


def add(files: Files, name: str = "a.txt", data: bytes = b"Hello", **more: Any) -> File:
    return files.add(DEFAULT_USER_ID, name, data, **more)


def stored_keys(files: Files) -> set[str]:
    return {found.key for found in files.store.objects()}


def test_a_file_reads_back_with_what_is_known_of_it(files: Files):
    file = add(files, "Grüße.txt", b"Hello")
    assert files.rows.get(DEFAULT_USER_ID, file.id, clock.now()) == file
    assert (file.mime_type, file.size, file.encoding) == ("text/plain", 5, "utf-8")
    assert file.hash == hashlib.sha256(b"Hello").hexdigest()
    with files.open(file) as opened:
        assert opened.read() == b"Hello"
    assert b"".join(files.chunks(file, 1, 3)) == b"ell"
    # No name of a user becomes a path.
    assert stored_keys(files) == {f"{DEFAULT_USER_ID}/{file.id}"}
    with pytest.raises(FileNotKnown):
        files.rows.get(new_id(), file.id, clock.now())


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "x" * 256])
def test_a_name_that_is_none_is_refused(files: Files, name: str):
    with pytest.raises(InvalidError) as refused:
        add(files, name)
    assert refused.value.problems[0].path == "name"
    assert stored_keys(files) == set()


@pytest.mark.parametrize(
    ("head", "declared", "name", "expected"),
    [
        (PNG, None, "x", "image/png"),
        (PNG, "image/png", "x", "image/png"),
        (b"a,b\n1,2\n", "text/csv; charset=utf-8", "x", "text/csv"),
        (b'{"a": 1}', "application/json", "x", "application/json"),
        (b"<html>", "text/html", "x", "text/html"),
        (b"", None, "empty.csv", "text/csv"),
        (b"", None, "nothing", "application/octet-stream"),
        (PNG, "application/octet-stream", "x", "application/octet-stream"),
    ],
)
def test_the_type_is_what_was_said_or_found(head: bytes, declared: str | None, name: str, expected: str):
    assert check_mime_type(head, declared, name) == expected


@pytest.mark.parametrize(
    ("head", "declared"),
    [
        (PNG, "application/pdf"), (b"%PDF-1.7\n%abc", "image/png"), (b"<!DOCTYPE html><script>", "image/png"),
        (b" <svg onload=x>", "text/plain"), (b"MZ\x90\0", "image/jpeg"), (b"\x7fELF\2\1\1", "text/csv"),
        (b"x", "nonsense"),
    ],
)  # fmt: skip
def test_what_is_not_what_it_says_is_refused_and_not_stored(files: Files, head: bytes, declared: str):
    with pytest.raises(InvalidError) as refused:
        add(files, data=head, mime_type=declared)
    assert refused.value.problems[0].path == "Content-Type"
    assert refused.value.problems[0].fix
    assert stored_keys(files) == set()


def test_limits_hold_for_a_file_and_for_all_of_a_user(settings: Settings, database: Database):
    Users(database).ensure_default()
    limits = {"max_upload_bytes": 10, "max_bytes_per_user": 15}
    files = Files(settings.model_copy(update=limits), database)
    with pytest.raises(TooLarge, match="10 bytes"):
        add(files, data=b"x" * 11)
    add(files, data=b"x" * 10)
    with pytest.raises(TooLarge, match="5 bytes"):
        add(files, data=b"x" * 6)
    add(files, data=b"x" * 5)
    with pytest.raises(TooLarge, match="as many as they may"):
        add(files, data=b"")
    assert len(stored_keys(files)) == 2


def test_an_upload_that_breaks_off_leaves_nothing(files: Files):
    upload = files.begin(DEFAULT_USER_ID, "a.txt")
    upload.feed(b"some")
    upload.abort()
    assert stored_keys(files) == set()
    assert files.rows.list(DEFAULT_USER_ID, clock.now(), limit=10).items == []


def test_a_user_deletes_a_file_also_while_the_storage_is_away(files: Files, monkeypatch: pytest.MonkeyPatch):
    first, second = add(files), add(files)
    files.delete(DEFAULT_USER_ID, first.id)
    assert stored_keys(files) == {second.storage_key}
    with monkeypatch.context() as away:
        away.setattr(Store, "delete", refuse)
        files.delete(DEFAULT_USER_ID, second.id)
    assert files.rows.list(DEFAULT_USER_ID, clock.now(), limit=10).items == []
    assert stored_keys(files) == {second.storage_key}
    assert clean_up(files, SteadyClock()).deleted == 1
    assert stored_keys(files) == set()


def test_a_block_reads_and_stores_its_users_files(files: Files):
    mine, theirs = UserStorage(files, DEFAULT_USER_ID, 100), UserStorage(files, new_id(), 100)
    value = mine.store("a.txt", b"Hello", None, "e.0")
    assert mine.read(value) == b"Hello"
    assert value.model_dump(by_alias=True).keys() == {"$file", "name", "mime_type", "size"}
    assert files.rows.get(DEFAULT_USER_ID, value.id, clock.now()).node_execution_id == "e.0"
    for wrong in (theirs, UserStorage(files, DEFAULT_USER_ID, 4)):
        with pytest.raises(BlockError, match=value.id):
            wrong.read(value)
    with pytest.raises(BlockError, match="not found"):
        mine.read(FileValue.model_validate({"$file": "../x"}))
    files.delete(DEFAULT_USER_ID, value.id)
    with pytest.raises(BlockError, match="may have expired"):
        mine.read(value)


class Wall:
    """The clocks of a test: the wall, which may be set, and the time since the start of the machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.boot = clock.from_ms(clock.now_ms()), 0.0
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(cleanup_module, "_since_boot", lambda: self.boot)

    def pass_(self, time: timedelta) -> None:
        self.now += time
        self.boot += time.total_seconds()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch, database: Database) -> Wall:
    wall = Wall(monkeypatch)
    if database.provider == "postgresql":
        # Its clock goes with the time that passes, whatever ours is set to.
        began = wall.now
        from autogpt_server.data.files import FileRows

        monkeypatch.setattr(FileRows, "now_of_database", lambda self: began + timedelta(seconds=wall.boot))
    return wall


def test_expired_files_go_with_the_second_look_and_once(files: Files, wall: Wall):
    steady = SteadyClock()
    kept = add(files, expires_at=wall.now + timedelta(days=9))
    gone = [add(files, f"{n}.txt", expires_at=wall.now + timedelta(minutes=1)) for n in range(3)]
    wall.pass_(timedelta(minutes=2))
    with pytest.raises(FileNotKnown):
        files.rows.get(DEFAULT_USER_ID, gone[0].id, wall.now)
    assert clean_up(files, steady).deleted == 0
    wall.pass_(GRACE)
    dry = clean_up(files, steady, dry_run=True)
    assert (dry.deleted, dry.bytes, sorted(dry.names)) == (3, 15, ["0.txt", "1.txt", "2.txt"])
    assert "would be deleted" in str(dry)
    assert len(stored_keys(files)) == 4
    assert clean_up(files, steady).deleted == 3
    assert clean_up(files, steady).deleted == 0
    assert stored_keys(files) == {kept.storage_key}


def test_one_that_cannot_be_deleted_does_not_stop_the_others(files: Files, wall: Wall, monkeypatch: pytest.MonkeyPatch):
    steady = SteadyClock()
    monkeypatch.setattr(cleanup_module, "_BATCH", 2)
    gone = [add(files, expires_at=wall.now + timedelta(minutes=1)) for _ in range(5)]
    wall.pass_(timedelta(minutes=2))
    clean_up(files, steady)
    wall.pass_(GRACE)
    delete = Store.delete

    def sometimes(self: Store, key: str) -> None:
        refuse() if key == gone[1].storage_key else delete(self, key)

    with monkeypatch.context() as failing:
        failing.setattr(Store, "delete", sometimes)
        done = clean_up(files, steady)
    assert (done.deleted, done.failed) == (4, 1)
    assert stored_keys(files) == {gone[1].storage_key}
    assert clean_up(files, steady).deleted == 1


def test_a_clock_that_is_ahead_deletes_nothing(files: Files, wall: Wall):
    steady = SteadyClock()
    file = add(files, expires_at=wall.now + timedelta(days=1))
    wall.now += timedelta(days=10)
    for _ in range(2):
        done = clean_up(files, steady)
        assert (done.deleted, done.orphans) == (0, 0)
        assert "864,000 s ahead" in str(done)
        wall.pass_(GRACE)
    wall.now -= timedelta(days=10)
    assert files.rows.get(DEFAULT_USER_ID, file.id, wall.now) == file
    assert clean_up(files, steady).ahead is None


def test_a_clock_that_was_wrong_at_the_first_look_is_forgiven(files: Files, wall: Wall):
    file = add(files, expires_at=wall.now + timedelta(days=1))
    files.rows.mark_expired(wall.now + timedelta(days=10))
    clean_up(files, SteadyClock())
    wall.pass_(timedelta(days=1, minutes=1))
    assert clean_up(files, SteadyClock()).deleted == 0
    assert stored_keys(files) == {file.storage_key}


def test_what_broken_uploads_left_goes_after_a_day(files: Files, tmp_path: Path):
    kept = add(files)
    old = (clock.now() - timedelta(days=2)).timestamp()
    left, fresh = new_id(), f"{new_id()}.1.ab.part"
    # What somebody else keeps in the same place is theirs.
    foreign = ["report.pdf", f"{DEFAULT_USER_ID}/notes.txt", f"backups/{new_id()}", f"{new_id()}/{new_id()}/x"]
    for key, age in (
        (f"{DEFAULT_USER_ID}/{left}", old),
        (f"{DEFAULT_USER_ID}/{left}.1.ab.part", old),
        (f"{DEFAULT_USER_ID}/{fresh}", None),
        *((key, old) for key in foreign),
    ):
        path = tmp_path / "storage" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        if age is not None:
            os.utime(path, (age, age))
    os.utime(tmp_path / "storage" / kept.storage_key, (old, old))
    assert clean_up(files, SteadyClock()).orphans == 2
    assert stored_keys(files) == {kept.storage_key, f"{DEFAULT_USER_ID}/{fresh}", *foreign}


def refuse(*_: object) -> None:
    raise Unavailable("the storage refused")
