"""What a server leaves behind is found: a process without its parent, and a file of a process that is no more."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.faults.left_behind import files, processes
from tests.make_settings import make_settings


def test_processes_and_files_are_found(tmp_path: Path) -> None:
    run_dir = make_settings(tmp_path, "").run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    # Its shell ends at once, so nobody is its parent any more.
    started = subprocess.run(["sh", "-c", "sleep 60 >&- & echo $!"], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    (orphan,) = processes(tmp_path)
    marks = run_dir / f"executor-{orphan.pid}.running"
    marks.touch()
    assert orphan.pid == int(started.stdout)
    assert files(tmp_path) == []
    orphan.kill()
    orphan.wait(10)
    assert processes(tmp_path) == []
    assert files(tmp_path) == [marks]
    marks.unlink()
