"""The shell part of the scripts: with a machine whose programs the test chooses."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout on a path with a space, and beside it a folder ``bin`` that is the whole PATH."""
    folder = tmp_path / "a checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (tmp_path / "bin").mkdir()
    dirname = shutil.which("dirname")
    assert dirname is not None
    (tmp_path / "bin" / "dirname").symlink_to(dirname)
    return folder


def write_python(path: Path, *, suits: bool) -> None:
    """Write a program that answers the question for its version, and otherwise prints its name and arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = "exit 0" if suits else "exit 1"
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && {answer}\nprintf "%s\\n" {path.name} "$@"\n')
    path.chmod(0o755)


def run(checkout: Path, *arguments: str, script: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": str(checkout.parent / "bin"), "HOME": str(checkout.parent)}
    return subprocess.run(
        [script or checkout / "scripts" / "app", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_a_suitable_python_is_told_what_is_needed(checkout: Path) -> None:
    write_python(checkout.parent / "bin" / "python3", suits=False)

    result = run(checkout)

    assert result.returncode == 1
    assert "Python 3.11, 3.12 or 3.13" in result.stderr


def test_another_version_is_found_when_the_usual_python_does_not_suit(checkout: Path) -> None:
    write_python(checkout.parent / "bin" / "python3", suits=False)
    write_python(checkout.parent / "bin" / "python3.12", suits=True)

    result = run(checkout, "run", "my graph.json")

    script = str(checkout.resolve() / "scripts" / "setup.py")
    assert result.stdout.splitlines() == ["python3.12", "-I", "-S", script, "app", "run", "my graph.json"]


def test_the_environment_that_is_there_is_taken_without_a_question(checkout: Path) -> None:
    write_python(checkout / ".venv" / "bin" / "python", suits=False)

    assert run(checkout).stdout.splitlines()[0] == "python"


@pytest.mark.parametrize("name", ["app", "test", "check", "bench", "lock"])
def test_a_script_is_found_through_links_absolute_and_relative(checkout: Path, name: str) -> None:
    write_python(checkout / ".venv" / "bin" / "python", suits=False)
    readlink = shutil.which("readlink")
    assert readlink is not None
    (checkout.parent / "bin" / "readlink").symlink_to(readlink)
    (checkout.parent / "absolute").symlink_to(checkout / "scripts" / name)
    (checkout.parent / "links").mkdir()
    (checkout.parent / "links" / "relative").symlink_to("../absolute")

    result = run(checkout, "argument", script=checkout.parent / "links" / "relative")

    program = checkout.resolve() / "scripts" / ("lock.py" if name == "lock" else "setup.py")
    assert result.stdout.splitlines()[:4] == ["python", "-I", "-S", str(program)], result.stderr
    assert result.stdout.splitlines()[-1] == "argument"
