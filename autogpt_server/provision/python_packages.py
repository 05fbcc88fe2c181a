"""A virtual environment with the packages of a requirements file, made by pip alone.

What was cut off in the middle is made from the start again: a package whose installation was interrupted can look
complete to pip.  An environment that somebody else made, Poetry for example, is completed and kept.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from autogpt_server.provision.environment import Environment
from autogpt_server.provision.stamp import Stamp
from autogpt_server.provision.steps import SetUpFailed, Steps

#: Python versions that the locked packages are made for: from, up to and without.
_PYTHONS = ((3, 11), (3, 14))
_HINT = (
    "The packages come from the index that pip is configured for: look at the network, or at pip's configuration.\n"
    "Running this again goes on from here."
)


class PythonPackages:
    """One virtual environment of a checkout.

    Args:
        prefix: The folder of the environment.
        requirements: Files with pinned and hashed packages, the smallest first; each holds all of the one before.
        install_project: Whether the checkout's own package is installed too, in place.
    """

    def __init__(self, root: Path, prefix: Path, requirements: list[Path], *, install_project: bool = False) -> None:
        self._root = root
        self.environment = Environment.at(prefix)
        stamps = self.environment.stamps
        python = ".".join(map(str, sys.version_info[:2]))
        #: Scripts and links in an environment hold its path, so it serves at this place only.
        self._place = Stamp(stamps / "place", str(prefix))
        self._under_way = stamps / "under-way"
        self._requirements = requirements
        self._packages = [Stamp(stamps / path.stem, path, python) for path in requirements]
        self._project = Stamp(stamps / "project", root / "pyproject.toml", str(root)) if install_project else None

    @property
    def is_ready(self) -> bool:
        needed = [self._place, self._packages[-1], *([self._project] if self._project else [])]
        return self.environment.python.exists() and not self._under_way.exists() and all(s.is_valid for s in needed)

    def install(self, steps: Steps) -> None:
        """Make the environment and whatever it lacks.

        Raises:
            SetUpFailed: The environment's Python does not suit, or pip failed.
        """
        reason = self._reason_to_remake()
        if reason:
            self._make(steps, reason)
        elif not self._place.is_valid:
            self._adopt(steps)
        if not self._packages[-1].is_valid:
            self._install_packages(steps)
        if self._project and not self._project.is_valid:
            self._install_project(steps, self._project)

    def _reason_to_remake(self) -> str:
        if not self.environment.python.exists():
            return "new"
        if self._under_way.exists():
            return "again: cut off before"
        if self._place.path.exists() and not self._place.is_valid:
            return "again: moved here"
        return ""

    def _make(self, steps: Steps, reason: str) -> None:
        prefix = self.environment.prefix
        with steps.step(f"Python {sys.version.split()[0]} in {prefix.name} ({reason})"):
            self._begin()
            # Its content and not the folder, which may be a mounted volume.
            for path in [*prefix.iterdir(), *self.environment.stamps.iterdir()]:
                if path not in (self.environment.stamps, self._under_way):
                    _remove(path)
            base = getattr(sys, "_base_executable", sys.executable)
            steps.run([base, "-I", "-m", "venv", prefix], cwd=self._root)
            self._place.write()

    def _adopt(self, steps: Steps) -> None:
        """Accept an environment that somebody else made."""
        if not _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]:
            name, found = self.environment.prefix.name, ".".join(map(str, sys.version_info[:2]))
            raise SetUpFailed(f"{name} was made with Python {found}; remove it, and run this with 3.11, 3.12 or 3.13.")
        if not (self.environment.site_packages / "pip").exists():
            steps.run([self.environment.python, "-I", "-m", "ensurepip"], cwd=self._root)
        self._place.write()

    def _install_packages(self, steps: Steps) -> None:
        wanted = self._requirements[-1]
        with steps.step(f"Python packages ({wanted.parent.name}/{wanted.name})"):
            self._begin()
            for stamp in self._packages:
                stamp.drop()
            # Nothing to resolve, as the file is complete; and pip compiles on one core only.
            self._pip(steps, "install", "--no-deps", "--require-hashes", "--no-compile", "-r", wanted)
            steps.compile(self.environment.python, self.environment.site_packages)
            for stamp in self._packages:
                stamp.write()
            self._under_way.unlink()

    def _install_project(self, steps: Steps, stamp: Stamp) -> None:
        with steps.step("The project itself"), stamp.remade():
            self._begin()
            self._pip(steps, "install", "--no-deps", "--no-index", "--no-build-isolation", "--editable", self._root)
            self._under_way.unlink()

    def _begin(self) -> None:
        self._under_way.parent.mkdir(parents=True, exist_ok=True)
        self._under_way.touch()

    def _pip(self, steps: Steps, command: str, *arguments: Path | str) -> None:
        quietly = ("--quiet", "--no-input", "--disable-pip-version-check")
        pip = [self.environment.python, "-I", "-m", "pip", command, *quietly, "--no-user"]
        steps.run([*pip, *arguments], cwd=self._root, hint=_HINT)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
