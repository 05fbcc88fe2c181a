"""The locks belong together and name no address.  scripts/check compares them with fresh exports; this is the rest."""

import re
import tomllib
from pathlib import Path

import pytest

from scripts import check_addresses

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("main.txt", "dev.txt", "lock.txt")


def read_requirements(name: str) -> dict[str, tuple[str, set[str]]]:
    """Give version and hashes of each package in an exported file."""
    packages: dict[str, tuple[str, set[str]]] = {}
    for entry in (ROOT / "requirements" / name).read_text().replace("\\\n", " ").splitlines():
        package = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", entry)
        assert package is not None, entry
        packages[package[1]] = package[2], set(re.findall(r"--hash=(\S+)", entry))
    return packages


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_exported_package_stands_in_the_lock_with_its_hashes(name: str) -> None:
    lock = tomllib.loads((ROOT / "poetry.lock").read_text())["package"]
    locked = {(p["name"], p["version"]): {file["hash"] for file in p["files"]} for p in lock}

    for package, (version, hashes) in read_requirements(name).items():
        assert hashes
        assert hashes <= locked[package, version]


def test_packages_for_developing_include_all_that_the_server_needs() -> None:
    assert read_requirements("main.txt").items() <= read_requirements("dev.txt").items()


@pytest.mark.parametrize("name", check_addresses.LOCKS)
def test_locks_name_no_address(name: str) -> None:
    assert list(check_addresses.find_addresses(name, ROOT / name)) == []


@pytest.mark.parametrize(
    "text", ["https://" + "registry.example.org/a/-/a-1.tgz", "http://" + "user@pypi.local", "https://x/" + "simple/"]
)
def test_an_address_of_an_index_is_found_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(f"one\ntwo {text} three\n")

    (found,) = check_addresses.find_addresses("file", tmp_path / "file")

    assert found.startswith("file:2: http")


def test_folders_of_this_machine_are_found_and_other_addresses_are_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(f"see https://keepachangelog.com\n{Path.home()}/x\nscripts{Path.home()}/x\n")

    (found,) = check_addresses.find_addresses("file", tmp_path / "file")

    assert found.startswith("file:2: ")
