"""The list of crash points and the places in the code name the same; an armed one fires once, at its passage."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from autogpt_server.service.crash_points import POINTS

ROOT = Path(__file__).parents[2]
PASSES = """
import sys
from pathlib import Path
from autogpt_server.service import crash_points
crash_points.arm(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    crash_points.crash_point("here")
    print("passed", flush=True)
"""


def placed() -> list[str]:
    """Every name with which a crash point stands in the code; names must be literal."""
    names: list[str] = []
    for path in (ROOT / "autogpt_server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if isinstance(node, ast.Call) and name == "crash_point":
                names.append(ast.literal_eval(node.args[0]))
    for path in (ROOT / "engine").glob("*.mjs"):
        names += re.findall(r'^(?!export).*\bcrashPoint\("?([^")]+)"?\)', path.read_text(), re.MULTILINE)
    return names


def passing(folder: Path, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PASSES, str(folder), str(times)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_what_is_listed_is_placed_and_what_is_placed_is_listed() -> None:
    assert set(placed()) == set(POINTS)


def test_the_process_that_passes_for_the_nth_time_is_killed_and_only_that_one(tmp_path: Path) -> None:
    for number in (3, 2, 1):
        (tmp_path / f"here.{number}").write_text("kill")
    with passing(tmp_path, 2) as first:
        out, _ = first.communicate(timeout=20)
    assert (first.returncode, out) == (0, "passed\n" * 2)
    with passing(tmp_path, 2) as second:
        out, _ = second.communicate(timeout=20)
    assert (second.returncode, out) == (-signal.SIGKILL, "")
    with passing(tmp_path, 2) as third:
        out, _ = third.communicate(timeout=20)
    assert (third.returncode, out) == (0, "passed\n" * 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"here.1.{second.pid}",
        f"here.2.{first.pid}",
        f"here.3.{first.pid}",
    ]


def test_a_stopped_process_goes_on_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "here.1").write_text("stop")
    with passing(tmp_path, 1) as process:
        guard = threading.Timer(20, process.kill)
        guard.start()
        while "T (stopped)" not in Path(f"/proc/{process.pid}/status").read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=20)[0] == "passed\n"
        guard.cancel()


def test_a_place_for_which_nothing_is_armed_is_passed(tmp_path: Path) -> None:
    (tmp_path / "here.and.there.1").write_text("kill")
    with passing(tmp_path, 1) as process:
        assert process.communicate(timeout=20)[0] == "passed\n"
