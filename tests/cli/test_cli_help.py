"""The commands as a whole: their help, their documentation, and how long it takes to see it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from autogpt_server.cli.main import app

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(command=None, path: str = "autogpt") -> Iterator[tuple[str, object]]:
    command = command or typer.main.get_command(app)
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from commands(child, f"{path} {name}")


def section(path: str) -> str:
    """The part of the documentation under the heading of a command's group."""
    heading = f"## {' '.join(path.split()[:2])}\n"
    assert heading in DOCS
    return DOCS.split(heading)[1].split("\n## ")[0]


@pytest.mark.parametrize("path,command", list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_documented(path, command):
    text = section(path)
    assert path in text or path.count(" ") == 1
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("-") and option not in ("--help", "-h"):
                assert f"`{option}" in text or f" {option}" in text, f"{path} {option}"


@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_every_command_has_help_that_says_what_it_does(autogpt, path):
    result = autogpt(*path.split()[1:], "--help")

    assert result.code == 0
    assert "Usage: autogpt" in result.out


def test_documentation_names_no_command_that_does_not_exist():
    known = {path for path, _ in commands()} | {
        "autogpt graph",
        "autogpt execution",
        "autogpt schedule",
        "autogpt blocks",
        "autogpt migrate",
        "autogpt task",
        "autogpt user",
        "autogpt file",
        "autogpt credentials",
        "autogpt notification",
        "autogpt key",
    }
    headings = [line.removeprefix("## ") for line in DOCS.splitlines() if line.startswith("## ")]
    assert set(headings) <= known


def test_help_imports_nothing_heavy():
    """What makes `autogpt --help` slow is importing; this names the culprit instead of measuring."""
    heavy = ["pydantic", "httpx", "fastapi", "sqlalchemy", "prisma", "jinja2", "feedparser", "autogpt_server.settings"]
    code = f"import sys, autogpt_server.cli.main; print([m for m in {heavy} if m in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_version_is_printed(autogpt):
    result = autogpt("--version")
    assert result.code == 0
    assert result.out.startswith("autogpt-server")


def test_a_wrong_setting_is_named_in_one_line_without_its_value(autogpt, monkeypatch):
    monkeypatch.setenv("AUTOGPT_PORT", "abc-secret")
    monkeypatch.setenv("EXECUTION_MANAGER_PORT", "70000")

    result = autogpt("graph", "list")

    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert "AUTOGPT_PORT: " in result.err
    assert "EXECUTION_MANAGER_PORT: " in result.err
    assert "abc-secret" not in result.err


def test_unknown_command_is_bad_usage(autogpt):
    assert autogpt("paint").code == 2
