"""``autogpt blocks``."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autogpt_server.cli import block_samples


def test_blocks_are_listed_with_name_and_description(autogpt):
    result = autogpt("blocks", "list")

    assert result.code == 0
    assert "CalculatorBlock" in result.out
    assert "MatchTextPatternBlock" in result.out


def test_a_word_narrows_the_list(autogpt):
    listed = json.loads(autogpt("blocks", "list", "calculat", "--json").out)

    assert [block["name"] for block in listed] == ["CalculatorBlock"]
    assert set(listed[0]["input_schema"]["properties"]) >= {"operation", "a", "b"}


def test_a_word_that_nothing_has_is_said_so(autogpt):
    result = autogpt("blocks", "list", "xyzzy")
    assert (result.code, result.out) == (0, "")
    assert "No block matches" in result.err


def test_a_block_is_shown_by_name_id_and_alias(autogpt):
    shown = {autogpt("blocks", "show", key).out for key in ("ValueBlock", "1ff065e9-88e8-4358-9d82-8dc91f622ba9")}

    assert len(shown) == 1
    text = shown.pop()
    assert "static" in text
    assert "required" in text
    assert "error" in text


def test_an_unknown_block_is_bad_input(autogpt):
    result = autogpt("blocks", "show", "NoSuchBlock")
    assert (result.code, result.out) == (2, "")
    assert "NoSuchBlock" in result.err


def test_the_samples_of_blocks_are_run(autogpt):
    result = autogpt("blocks", "test", "CalculatorBlock", "WriteFileBlock")

    assert result.code == 0
    assert result.out.splitlines() == ["✓ CalculatorBlock", "✓ WriteFileBlock"]


def test_a_new_block_works_and_its_test_passes_and_it_can_be_enabled(autogpt, tmp_path, monkeypatch):
    # when it is begun
    result = autogpt("blocks", "new", "WordCountBlock", "--folder", "mine")
    assert result.code == 0
    assert "AUTOGPT_BLOCKS=word_count_block:WordCountBlock" in result.out

    # then its own test passes
    folder = tmp_path / "mine"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_word_count_block.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr

    # and it is a block like any other, and small
    monkeypatch.setenv("AUTOGPT_BLOCKS", "word_count_block:WordCountBlock")
    monkeypatch.syspath_prepend(folder)
    assert autogpt("blocks", "test", "WordCountBlock").out == "✓ WordCountBlock\n"
    body = (folder / "word_count_block.py").read_text().split("class WordCountBlock")[1]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15


def test_a_sample_that_yields_something_else_is_named(autogpt, tmp_path, monkeypatch):
    autogpt("blocks", "new", "WrongBlock")
    file = tmp_path / "wrong_block.py"
    file.write_text(file.read_text().replace(".upper()", ".lower()"))
    monkeypatch.setenv("AUTOGPT_BLOCKS", "wrong_block:WrongBlock")
    monkeypatch.syspath_prepend(tmp_path)

    result = autogpt("blocks", "test", "WrongBlock")

    assert result.code == 1
    assert "expected ('result', 'HELLO'), got ('result', 'hello')" in result.out


def test_a_block_that_raises_is_told_with_the_place(autogpt, tmp_path, monkeypatch):
    autogpt("blocks", "new", "RaisingBlock")
    file = tmp_path / "raising_block.py"
    file.write_text(file.read_text().replace("input_data.text.upper()", "1 / 0"))
    monkeypatch.setenv("AUTOGPT_BLOCKS", "raising_block:RaisingBlock")
    monkeypatch.syspath_prepend(tmp_path)

    result = autogpt("blocks", "test", "RaisingBlock", "ValueBlock")

    assert result.code == 1
    assert "ZeroDivisionError" in result.out
    assert "✓ ValueBlock" in result.out


ENDINGS = {
    "import os; os._exit(7)": "the block ended its process (exit code 7)",
    "import os; os._exit(0)": "the block ended its process (exit code 0)",
    "raise SystemExit(3)": "the block ended its process (exit code 3)",
    "import os; os.kill(os.getpid(), 9)": "the block ended its process (signal 9 (SIGKILL))",
    "import threading; threading.Event().wait()": "the block did not end within 10 s and was killed",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_block_that_ends_its_process_is_told_and_leaves_nothing(autogpt, tmp_path, monkeypatch, ending):
    # given a block that takes its process with it, or never ends
    autogpt("blocks", "new", "ExitBlock")
    file = tmp_path / "exit_block.py"
    file.write_text(re.sub(r"( +)yield ", lambda found: f"{found[1]}{ending}\n{found[0]}", file.read_text()))
    monkeypatch.setenv("AUTOGPT_BLOCKS", "exit_block:ExitBlock")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(block_samples, "LIMIT_SECONDS", 10 if "wait" in ending else 60)
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))

    result = autogpt("blocks", "test", "ExitBlock", "ValueBlock")

    assert result.code == 1
    assert result.out.splitlines() == ["✗ ExitBlock", f"  - {ENDINGS[ending]}", "✓ ValueBlock"]
    assert list(folders.iterdir()) == []


def test_nothing_is_overwritten(autogpt, tmp_path):
    autogpt("blocks", "new", "WordCountBlock")
    before = (tmp_path / "word_count_block.py").read_text()

    assert autogpt("blocks", "new", "WordCountBlock").code == 2
    assert (tmp_path / "word_count_block.py").read_text() == before


@pytest.mark.parametrize("name", ["ValueBlock", "StoreValueBlock"])
def test_a_name_that_the_library_has_is_refused(autogpt, tmp_path, name):
    result = autogpt("blocks", "new", name)

    assert result.code == 2
    assert "ValueBlock" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_new_block_says_how_to_run_its_test_from_anywhere(autogpt, tmp_path):
    result = autogpt("blocks", "new", "WordCountBlock", "--folder", "my blocks")

    line = next(line for line in result.out.splitlines() if line.startswith("Test it:"))
    script, test_file = shlex.split(line.removeprefix("Test it:"))
    assert script == str(Path(__file__).parents[2] / "scripts" / "test")
    assert Path(test_file) == tmp_path / "my blocks" / "test_word_count_block.py"


def test_the_block_of_the_documentation_works_as_it_is_described(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "blocks.md").read_text(encoding="utf-8")
    (tmp_path / "my_blocks.py").write_text(page.split("```python\n")[1].split("```")[0])
    commands = page.split("run the sample:\n\n```\n")[1].split("```")[0]

    # As a checkout that is installed has it.
    autogpt = tmp_path / "bin" / "autogpt"
    autogpt.parent.mkdir()
    project = Path(__file__).parents[2]
    program = f'PYTHONPATH="$PYTHONPATH:{project}" exec {sys.executable} -P -m autogpt_server.cli.main "$@"'
    autogpt.write_text(f"#!/bin/sh\n{program}\n")
    autogpt.chmod(0o755)
    environment = {"PATH": f"{autogpt.parent}:{os.defpath}", "HOME": str(tmp_path)}
    result = subprocess.run(
        ["sh", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert result.stdout == "✓ WordCountBlock\n", result.stderr


def test_a_bad_name_is_refused(autogpt, tmp_path):
    assert autogpt("blocks", "new", "../evil").code == 2
    assert list(tmp_path.iterdir()) == []
