"""Lock all packages and export the locks for plain pip and npm.  Standard library only.

lock.py             after a change of pyproject.toml or package.json: adds what is new, keeps all other versions
lock.py --upgrade   takes the newest version of every Python package that pyproject.toml allows
lock.py --check     fails when pyproject.toml, poetry.lock and requirements/*.txt do not belong together

Poetry comes from requirements/lock.txt into .venv-lock, apart from everything else.  Poetry's resolver wants more from
a package index than every index offers; the mirror plugin needs less.  It is given the index that pip is configured
for, and leaves no address in the lock.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autogpt_server.provision.environment import Environment  # noqa: E402
from autogpt_server.provision.provide import ROOT  # noqa: E402
from autogpt_server.provision.python_packages import PythonPackages  # noqa: E402
from autogpt_server.provision.stamp import Stamp  # noqa: E402
from autogpt_server.provision.steps import SetUpFailed, Steps  # noqa: E402

REQUIREMENTS = ROOT / "requirements"
#: Groups of pyproject.toml in each exported file.
EXPORTS = {"main.txt": "main,build", "dev.txt": "main,build,dev", "lock.txt": "lock"}
_INDEX_HOST = re.compile(r"\bpypi\.org\b", re.IGNORECASE)
#: Prints the index that pip would use, whether an option, a variable, a file or pip itself says so.
PRINT_INDEX = """
from pip._internal.commands import create_command
options, _ = create_command("install").parse_args([])
print(options.index_url)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Lock all packages and export the locks.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing, fail when something is out of date")
    what.add_argument("--upgrade", action="store_true", help="take the newest versions allowed")
    options = parser.parse_args()
    try:
        with Steps.exclusive(ROOT / ".cache" / "lock.lock") as steps:
            if options.check:
                check(steps)
            else:
                lock(steps, upgrade=options.upgrade)
    except SetUpFailed as failure:
        sys.exit(f"\n{failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def check(steps: Steps) -> None:
    """Compare the locks with what they are made from; skipped outside of CI while nothing changed since it passed."""
    environment = Environment.at(ROOT / ".venv-lock")
    sources = [ROOT / "pyproject.toml", ROOT / "poetry.lock", *(REQUIREMENTS / name for name in EXPORTS)]
    checked = Stamp(environment.stamps / "checked", *sources)
    if checked.is_valid and os.environ.get("CI") != "true":
        return
    install_poetry(steps)
    with steps.step("poetry.lock and requirements/*.txt"), checked.remade():
        steps.run(
            [environment.bin / "poetry", "check", "--lock"], cwd=ROOT, hint="./scripts/lock brings them in step again."
        )
        for name, groups in EXPORTS.items():
            if export(steps, environment, groups) != (REQUIREMENTS / name).read_text(encoding="utf-8"):
                raise SetUpFailed(f"requirements/{name} is not what poetry.lock says; ./scripts/lock exports it anew.")


def lock(steps: Steps, *, upgrade: bool) -> None:
    """Write poetry.lock, requirements/*.txt and package-lock.json."""
    environment = install_poetry(steps)
    index = steps.run([environment.python, "-I", "-c", PRINT_INDEX], cwd=ROOT).strip().rstrip("/")
    with steps.step("poetry.lock"):
        steps.run(
            [environment.bin / "poetry", "lock", *(["--regenerate"] if upgrade else [])],
            cwd=ROOT,
            variables={"POETRY_PYPI_MIRROR_URL": f"{index}/", "POETRY_VIRTUALENVS_CREATE": "false"},
        )
        name_no_hosts(ROOT / "poetry.lock")
    for name, groups in EXPORTS.items():
        with steps.step(f"requirements/{name}"):
            (REQUIREMENTS / name).write_text(export(steps, environment, groups), encoding="utf-8")
    app = Environment.at(ROOT / ".venv")
    if not app.npm.exists():
        raise SetUpFailed("package-lock.json needs the Node of ./scripts/app: start that once, then this again.")
    with steps.step("package-lock.json"):
        options = ["--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved", "--no-audit"]
        steps.run([app.node, app.npm, "install", *options], cwd=ROOT)


def name_no_hosts(lock_file: Path) -> None:
    """Take the hosts of package indexes out of what packages say of themselves; nothing reads that."""
    text = lock_file.read_text(encoding="utf-8")
    lock_file.write_text(
        re.sub(r"^description = .*$", lambda line: _INDEX_HOST.sub("PyPI", line[0]), text, flags=re.MULTILINE),
        encoding="utf-8",
    )


def install_poetry(steps: Steps) -> Environment:
    packages = PythonPackages(ROOT, ROOT / ".venv-lock", [REQUIREMENTS / "lock.txt"])
    if not packages.is_ready:
        packages.install(steps)
    return packages.environment


def export(steps: Steps, environment: Environment, groups: str) -> str:
    return steps.run([environment.bin / "poetry", "export", f"--only={groups}"], cwd=ROOT)


if __name__ == "__main__":
    main()
