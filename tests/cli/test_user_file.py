"""``--file``: what reaches the user's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from autogpt_server.cli.user_file import copy_files, parse_file
from autogpt_server.errors import InvalidError
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.settings import Settings


@pytest.fixture
def here(tmp_path, monkeypatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(data_dir=tmp_path / "data", _env_file=None)


def test_a_file_keeps_its_name_or_gets_another(here, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("orders.csv", "a=b.csv"):
        (tmp_path / "in" / name).write_text(name)

    assert parse_file("in/orders.csv") == (Path("in/orders.csv"), "orders.csv")
    assert parse_file("in/orders.csv=x/new.csv") == (Path("in/orders.csv"), "x/new.csv")
    assert parse_file("in/a=b.csv") == (Path("in/a=b.csv"), "a=b.csv")
    assert parse_file("in/a=b.csv=c.csv") == (Path("in/a=b.csv"), "c.csv")


@pytest.mark.parametrize("argument", ["missing.csv", "missing.csv=x", "", "=x", "."])
def test_a_missing_file_is_named(here, argument):
    with pytest.raises(InvalidError, match="there is no file"):
        parse_file(argument)


def test_files_are_copied_into_the_folder_of_the_local_user(here, tmp_path):
    source = tmp_path / "orders.csv"
    source.write_text("old")
    copy_files([(source, "in/orders.csv")], here)
    source.write_text("new")
    copy_files([(source, "in/orders.csv")], here)

    assert (here.files_dir / DEFAULT_USER_ID / "in" / "orders.csv").read_text() == "new"


@pytest.mark.parametrize("name", ["../orders.csv", "/etc/orders.csv", "a/../../b"])
def test_no_name_leads_out_of_the_folder(here, tmp_path, name):
    source = tmp_path / "orders.csv"
    source.write_text("x")

    with pytest.raises(InvalidError, match="cannot be copied"):
        copy_files([(source, name)], here)
