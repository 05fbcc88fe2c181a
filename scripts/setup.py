"""Install what a command needs and then become that command.  Standard library only: nothing is installed yet.

setup.py app                the server
setup.py app ARGUMENTS      the command line ``autogpt``
setup.py test [ARGUMENTS]   pytest
setup.py check [ARGUMENTS]  scripts/check.py
setup.py bench [ARGUMENTS]  python -m benchmarks
setup.py soak [ARGUMENTS]   python -m tests.faults.soak
setup.py break_rules [WORDS] python -m tests.broken_rules
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autogpt_server.provision.provide import LOCK_PATH, ROOT, complete, is_provided  # noqa: E402
from autogpt_server.provision.python_packages import PythonPackages  # noqa: E402
from autogpt_server.provision.steps import SetUpFailed, Steps, say  # noqa: E402

REQUIREMENTS = ROOT / "requirements"


def main() -> NoReturn:
    command, *arguments = sys.argv[1:]
    # As an exception it also ends the command that runs now, instead of leaving it behind.
    signal.signal(signal.SIGTERM, end)
    try:
        set_up(dev=command != "app")
    except SetUpFailed as failure:
        sys.exit(f"\n{failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    become(command, arguments)


def end(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def set_up(*, dev: bool) -> None:
    """Make everything that is missing; says nothing when nothing is."""
    packages = make_packages(dev)
    if packages.is_ready and is_provided(packages.environment, dev=dev):
        return
    with Steps.exclusive(LOCK_PATH) as steps:
        started = time.monotonic()
        # Read again: another set-up may have done it all while this one waited.
        packages = make_packages(dev)
        if not packages.is_ready:
            say("Setting up\n")
            packages.install(steps)
        complete(steps, packages.environment, dev=dev)
        say(f"Set up in {time.monotonic() - started:.1f} s\n")


#: The whole suite waits more than it computes: three processes keep two cores busy.  Files are begun in the order that
#: tests/conftest.py puts them in.
IN_PARALLEL = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]

#: Commands that are modules of the repository.
MODULES = {"bench": "benchmarks", "soak": "tests.faults.soak", "break_rules": "tests.broken_rules"}


def make_packages(dev: bool) -> PythonPackages:
    files = [REQUIREMENTS / "main.txt", *([REQUIREMENTS / "dev.txt"] if dev else [])]
    return PythonPackages(ROOT, ROOT / ".venv", files, install_project=True)


def become(command: str, arguments: list[str]) -> NoReturn:
    """Go on as the command in the same process, so that signals and the exit code are its own."""
    environment = ROOT / ".venv" / "bin"
    if command == "app":
        program = [environment / ("autogpt" if arguments else "app")]
    elif command == "test":
        os.chdir(ROOT)
        program = [environment / "python", "-m", "pytest", *([] if arguments else IN_PARALLEL)]
    elif command in MODULES:
        os.chdir(ROOT)
        program = [environment / "python", "-m", MODULES[command]]
    else:
        program = [environment / "python", ROOT / "scripts" / "check.py"]
    os.execv(program[0], [str(part) for part in [*program, *arguments]])


if __name__ == "__main__":
    main()
