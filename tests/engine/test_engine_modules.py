from __future__ import annotations

import subprocess
from pathlib import Path

from autogpt_server.data.query_engine import node_path

TESTS = Path(__file__).parent.parent.parent / "engine" / "test"


def test_the_engines_own_tests_pass() -> None:
    tests = sorted(TESTS.glob("*.test.mjs"))
    assert tests

    result = subprocess.run(
        [node_path(), "--disable-warning=ExperimentalWarning", "--test", *tests],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert result.returncode == 0, result.stdout
