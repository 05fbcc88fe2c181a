"""``node_modules``: the packages that run on Node, as package-lock.json lists them."""

from __future__ import annotations

from pathlib import Path

from autogpt_server.provision.environment import Environment
from autogpt_server.provision.stamp import Stamp
from autogpt_server.provision.steps import Steps

#: No script of a package is run: the engines that some would download are not used.
_QUIETLY = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
#: Without a network, each further attempt is a silent wait for a person who watches; what npm has kept needs none.
_SOON = ("--prefer-offline", "--fetch-retries=1")
_HINT = (
    "The packages come from the registry that npm is configured for: look at the network, or at npm's configuration."
)


class NodePackages:
    """The packages the server needs, and with ``dev`` those for developing too."""

    def __init__(self, root: Path, environment: Environment, *, dev: bool = False) -> None:
        self._root = root
        self._environment = environment
        self._dev = dev
        # Inside the folder they vouch for: several environments may share it.
        sources = (root / "package.json", root / "package-lock.json")
        self._main_stamp = Stamp(root / "node_modules" / ".main-stamp", *sources)
        self._dev_stamp = Stamp(root / "node_modules" / ".dev-stamp", *sources)

    @property
    def is_ready(self) -> bool:
        return (self._dev_stamp if self._dev else self._main_stamp).is_valid

    def install(self, steps: Steps) -> None:
        """Make ``node_modules`` what the lock says.

        Where the server's own packages are complete, those for developing are only added, so that a running server
        keeps its own.

        Raises:
            SetUpFailed: npm failed.
        """
        command = ["install", "--no-save"] if self._dev and self._main_stamp.is_valid else ["ci"]
        self._main_stamp.drop()
        self._dev_stamp.drop()
        omit = [] if self._dev else ["--omit=dev"]
        with steps.step("Fetching Node packages (package-lock.json)"):
            npm = [self._environment.node, self._environment.npm]
            steps.run([*npm, *command, *omit, *_QUIETLY, *_SOON], cwd=self._root, hint=_HINT)
        self._main_stamp.write()
        if self._dev:
            self._dev_stamp.write()
