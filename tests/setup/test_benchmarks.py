"""The benchmarks themselves: each kind of work runs to its end on a small database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_a_little_of_each_work_is_measured_and_saved(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    # All but the batch, which installs what it is compared with.
    works = ["single", "fan", "waits", "large", "endpoints", "schedules", "idle"]
    command = [sys.executable, "-m", "benchmarks", *works, "--quick", "--rows", "1000", "--database", "sqlite"]

    done = subprocess.run([*command, "--save", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=110)

    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())["figures"]["SQLite"]
    assert len(figures) == 20
    # An idle second may be too short to see any time of a processor.
    assert all(value > 0 for figure in figures for value in figure["values"] if figure["unit"] != "% of a core")
