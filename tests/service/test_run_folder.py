"""Sockets stand only in a folder that nobody else can write to."""

from pathlib import Path

import pytest

from autogpt_server.errors import InvalidError
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings


def settings_in(folder: Path) -> Settings:
    return Settings(data_dir=folder, _env_file=None)  # type: ignore[call-arg]


def test_the_folder_is_made_for_this_user_alone_and_taken_again(tmp_path: Path) -> None:
    folder = open_run_folder(settings_in(tmp_path))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert open_run_folder(settings_in(tmp_path)) == folder


def test_a_data_folder_with_a_long_path_keeps_its_sockets_elsewhere(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    folder = settings_in(long).run_dir
    assert len(str(folder)) < 60
    assert folder != settings_in(tmp_path / ("y" * 100)).run_dir


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    settings = settings_in(tmp_path)
    settings.run_dir.mkdir(parents=True)
    settings.run_dir.chmod(mode)
    with pytest.raises(InvalidError, match="cannot be trusted"):
        open_run_folder(settings)


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    settings.run_dir.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "elsewhere").mkdir()
    settings.run_dir.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidError, match="cannot be trusted"):
        open_run_folder(settings)
