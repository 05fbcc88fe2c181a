"""What is installed when.  One test makes a real environment; the others only look at which commands would be run."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from autogpt_server.provision.python_packages import PythonPackages
from autogpt_server.provision.steps import SetUpFailed, Steps


class RecordedSteps(Steps):
    """Notes what would be done, leaves the traces that the set-up looks at, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.done: list[str] = []
        self.fails_at = ""

    def run(
        self,
        command: Sequence[Path | str],
        *,
        cwd: Path,
        hint: str = "",
        path: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        what = "venv" if "venv" in command else Path(command[-1]).name
        if what == self.fails_at:
            raise SetUpFailed(what)
        self.done.append(what)
        if what == "venv":
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
            self.done[-1] = "make"
        return ""

    def compile(self, python: Path, folder: Path) -> None:
        pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("main.txt", "dev.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.fixture
def steps() -> RecordedSteps:
    return RecordedSteps()


def packages(root: Path, *names: str) -> PythonPackages:
    return PythonPackages(root, root / ".venv", [root / name for name in names or ("main.txt",)], install_project=True)


def install(root: Path, steps: RecordedSteps, *names: str) -> list[str]:
    """Install what is missing, as a new start does, and tell what was done."""
    steps.done.clear()
    if not packages(root, *names).is_ready:
        packages(root, *names).install(steps)
    assert packages(root, *names).is_ready
    return steps.done


def test_the_first_start_makes_everything_and_the_second_nothing(root: Path, steps: RecordedSteps) -> None:
    assert install(root, steps) == ["make", "main.txt", root.name]
    assert install(root, steps) == []


def test_only_what_changed_is_installed_again(root: Path, steps: RecordedSteps) -> None:
    install(root, steps)

    (root / "main.txt").write_text("more")
    assert install(root, steps) == ["main.txt"]
    (root / "pyproject.toml").write_text("more")
    assert install(root, steps) == [root.name]


def test_developing_adds_to_the_servers_environment_and_satisfies_the_server(root: Path, steps: RecordedSteps) -> None:
    install(root, steps)

    assert install(root, steps, "main.txt", "dev.txt") == ["dev.txt"]
    assert install(root, steps) == []
    assert install(root, steps, "main.txt", "dev.txt") == []


@pytest.mark.parametrize("stage", ["venv", "main.txt", "project"])
def test_an_installation_that_was_cut_off_starts_from_an_empty_environment(
    root: Path, steps: RecordedSteps, stage: str
) -> None:
    steps.fails_at = root.name if stage == "project" else stage
    with pytest.raises(SetUpFailed):
        packages(root).install(steps)
    (root / ".venv" / "half a package").touch()
    assert not packages(root).is_ready

    steps.fails_at = ""

    assert install(root, steps) == ["make", "main.txt", root.name]
    assert not (root / ".venv" / "half a package").exists()


def test_an_environment_that_was_moved_is_made_again(root: Path, steps: RecordedSteps) -> None:
    (root / "old").mkdir()
    elsewhere = PythonPackages(root, root / "old" / ".venv", [root / "main.txt"])
    elsewhere.install(steps)
    (root / "old" / ".venv").rename(root / ".venv")

    assert install(root, steps) == ["make", "main.txt", root.name]


def test_an_environment_that_somebody_else_made_is_completed_and_kept(root: Path, steps: RecordedSteps) -> None:
    environment = packages(root).environment
    environment.bin.mkdir(parents=True)
    environment.python.touch()
    (environment.site_packages / "pip").mkdir(parents=True)
    (environment.prefix / "theirs").touch()

    assert install(root, steps) == ["main.txt", root.name]
    assert (environment.prefix / "theirs").exists()


def test_a_real_environment_on_a_path_with_spaces_works(root: Path) -> None:
    folder = root / "a folder"
    folder.mkdir()
    made = PythonPackages(root, folder / ".venv", [root / "main.txt"])

    with Steps.exclusive(root / "lock") as steps:
        made.install(steps)

    assert made.is_ready
    prefix = subprocess.check_output([made.environment.python, "-c", "import sys; print(sys.prefix)"], text=True)
    assert prefix.strip() == str(folder / ".venv")
    assert (made.environment.site_packages / "pip").is_dir()
