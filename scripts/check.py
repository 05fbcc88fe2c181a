"""Look at everything that can be seen without running a test.

check.py           all checks, at the same time; exit code 1 when one of them fails
check.py NAMES...  only these
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from autogpt_server.provision.environment import Environment
from autogpt_server.provision.provide import ROOT

ENVIRONMENT = Environment.at(ROOT / ".venv")
PYTHON, SCRIPTS = ENVIRONMENT.python, ROOT / "scripts"

#: The longest ones first.
CHECKS: dict[str, list[Path | str]] = {
    "pyright": [ENVIRONMENT.node, ROOT / "node_modules" / "pyright" / "index.js"],
    "locks": [PYTHON, "-I", "-S", SCRIPTS / "lock.py", "--check"],
    "imports": [ENVIRONMENT.bin / "lint-imports"],
    "migrations": [PYTHON, SCRIPTS / "make_migration.py", "--check"],
    "addresses": [PYTHON, SCRIPTS / "check_addresses.py"],
    "ruff": [ENVIRONMENT.bin / "ruff", "check", "--output-format=concise"],
    "format": [ENVIRONMENT.bin / "ruff", "format", "--check"],
}


def main() -> int:
    names = sys.argv[1:] or list(CHECKS)
    unknown = set(names) - CHECKS.keys()
    if unknown:
        print(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
        return 2
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, names))
    return 0 if all(results) else 1


def run(name: str) -> bool:
    """Run one check and print one line, followed by its output when it fails."""
    started = time.monotonic()
    path = os.pathsep.join([str(ENVIRONMENT.bin), os.environ.get("PATH", os.defpath)])
    result = subprocess.run(
        CHECKS[name], cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    passed = result.returncode == 0
    line = f"{'ok  ' if passed else 'FAIL'} {name:<12} {time.monotonic() - started:5.1f} s\n"
    # In one write: checks end at the same time.
    sys.stdout.write(line if passed else f"{line}{result.stdout}{result.stderr}\n")
    sys.stdout.flush()
    return passed


if __name__ == "__main__":
    sys.exit(main())
