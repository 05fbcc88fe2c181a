from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from autogpt_server.provision.environment import Environment
from autogpt_server.provision.node_packages import NodePackages
from autogpt_server.provision.steps import SetUpFailed, Steps


class RecordedNpm(Steps):
    """Notes how npm would be called."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.calls: list[tuple[str, bool]] = []
        self.fails = False

    def run(
        self,
        command: Sequence[Path | str],
        *,
        cwd: Path,
        hint: str = "",
        path: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        assert {"--ignore-scripts", "--prefer-offline", "--fetch-retries=1"} <= set(command)
        if self.fails:
            raise SetUpFailed("npm")
        self.calls.append((str(command[2]), "--omit=dev" not in command))
        return ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "package-lock.json").write_text("{}")
    return tmp_path


def packages(root: Path, *, dev: bool = False) -> NodePackages:
    return NodePackages(root, Environment.at(root / ".venv"), dev=dev)


def test_packages_for_developing_are_added_and_satisfy_the_server(root: Path) -> None:
    npm = RecordedNpm()

    packages(root).install(npm)
    assert packages(root).is_ready
    assert not packages(root, dev=True).is_ready
    packages(root, dev=True).install(npm)

    assert packages(root).is_ready
    assert packages(root, dev=True).is_ready
    assert npm.calls == [("ci", False), ("install", True)]


def test_a_changed_lock_installs_all_anew(root: Path) -> None:
    npm = RecordedNpm()
    packages(root, dev=True).install(npm)

    (root / "package-lock.json").write_text("{ }")
    assert not packages(root).is_ready
    packages(root).install(npm)

    assert packages(root).is_ready
    assert not packages(root, dev=True).is_ready
    assert npm.calls == [("ci", True), ("ci", False)]


def test_an_installation_that_failed_is_done_from_the_start(root: Path) -> None:
    npm = RecordedNpm()
    packages(root).install(npm)
    npm.fails = True
    with pytest.raises(SetUpFailed):
        packages(root, dev=True).install(npm)
    assert not packages(root).is_ready

    npm.fails = False
    packages(root, dev=True).install(npm)

    assert npm.calls == [("ci", False), ("ci", True)]
