from pathlib import Path

import pytest

from autogpt_server.provision.stamp import Stamp


def test_a_stamp_is_valid_once_written_and_until_a_source_changes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")
    assert not Stamp(tmp_path / "stamp", source, "3.11").is_valid

    Stamp(tmp_path / "stamp", source, "3.11").write()

    assert Stamp(tmp_path / "stamp", source, "3.11").is_valid
    assert not Stamp(tmp_path / "stamp", source, "3.12").is_valid
    source.write_text("two")
    assert not Stamp(tmp_path / "stamp", source, "3.11").is_valid


def test_two_sources_are_not_the_same_as_one_that_reads_like_both(tmp_path: Path) -> None:
    Stamp(tmp_path / "stamp", "ab", "c").write()

    assert not Stamp(tmp_path / "stamp", "a", "bc").is_valid
    assert not Stamp(tmp_path / "stamp", "abc").is_valid


def test_what_is_cut_off_while_being_made_has_no_stamp(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "stamp", "source")
    stamp.write()

    with pytest.raises(KeyboardInterrupt), stamp.remade():
        assert not stamp.is_valid
        raise KeyboardInterrupt

    assert not stamp.is_valid


def test_a_source_that_changes_while_it_is_used_leaves_an_outdated_stamp(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")

    with Stamp(tmp_path / "stamp", source).remade():
        source.write_text("two")

    assert not Stamp(tmp_path / "stamp", source).is_valid


def test_a_damaged_stamp_is_not_valid(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "stamp", "source")
    stamp.path.write_bytes(b"\xff\xfe")

    assert not stamp.is_valid
