"""A user's folder keeps every path inside, and every file within its limit."""

import os
from pathlib import Path

import pytest

from autogpt_server.errors import BlockError
from autogpt_server.executor.user_files import UserFiles


@pytest.fixture
def files(tmp_path: Path) -> UserFiles:
    return UserFiles(tmp_path / "user", max_bytes=1000)


def test_what_was_written_is_read_back_also_in_new_folders(files: UserFiles) -> None:
    assert files.write("reports/2026/a.txt", b"one") == 3
    assert files.write("reports/2026/a.txt", b"two", append=True) == 6
    assert files.read("./reports/2026/a.txt") == b"onetwo"
    assert files.write("reports/2026/a.txt", b"new") == 3
    assert files.read("reports/2026/a.txt") == b"new"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a/../b", "a\0b"])
def test_a_path_that_could_leave_the_folder_is_refused(files: UserFiles, path: str) -> None:
    with pytest.raises(BlockError):
        files.read(path)
    with pytest.raises(BlockError):
        files.write(path, b"x")


def test_links_are_not_followed_neither_as_file_nor_as_folder(files: UserFiles, tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path / "secret", tmp_path / "user" / "link")
    os.symlink(tmp_path, tmp_path / "user" / "up")
    for path in ("link", "up/secret"):
        with pytest.raises(BlockError):
            files.read(path)
    with pytest.raises(BlockError):
        files.write("up/secret", b"x")
    with pytest.raises(BlockError):
        files.write("link", b"x", append=True)
    # A whole write replaces the link itself, never what it points to.
    files.write("link", b"mine")
    assert (tmp_path / "secret").read_text() == "secret"


def test_files_beyond_the_limit_are_neither_read_nor_written(files: UserFiles, tmp_path: Path) -> None:
    files.write("a", b"x" * 900)
    with pytest.raises(BlockError, match="limit is 1,000"):
        files.write("a", b"x" * 101, append=True)
    with pytest.raises(BlockError, match="limit is 1,000"):
        files.write("b", b"x" * 1001)
    (tmp_path / "user" / "c").write_bytes(b"x" * 1001)
    with pytest.raises(BlockError, match="limit is 1,000"):
        files.read("c")
    assert sorted(os.listdir(tmp_path / "user")) == ["a", "c"]


def test_pipes_and_folders_are_no_files(files: UserFiles, tmp_path: Path) -> None:
    files.write("folder/a", b"")
    os.mkfifo(tmp_path / "user" / "pipe")
    for path in ("pipe", "folder"):
        with pytest.raises(BlockError):
            files.read(path)
        with pytest.raises(BlockError):
            files.write(path, b"", append=True)


def test_a_missing_file_is_named(files: UserFiles) -> None:
    with pytest.raises(BlockError, match=r"no file 'orders\.csv'"):
        files.read("orders.csv")
