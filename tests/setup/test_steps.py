import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autogpt_server.provision.steps import SetUpFailed, Steps

#: Runs `cat FIFO` under the lock: it has started when the FIFO can be opened, and ends when that is closed.
HOLDER = """
import signal, sys
from pathlib import Path
from autogpt_server.provision.steps import Steps
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with Steps.exclusive(Path(sys.argv[1])) as steps:
    steps.run(["cat", sys.argv[2]], cwd=Path.cwd())
"""
#: The same, and the signal comes when its command runs already and is not yet known to it.
EARLY = """
import os, subprocess
class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = Popen
"""
WAITER = """
import sys
from pathlib import Path
from autogpt_server.provision.steps import Steps
with Steps.exclusive(Path(sys.argv[1])):
    print("mine")
"""


def start(code: str, *arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def is_locked(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_second_set_up_says_that_it_waits_and_goes_on_after_the_first(tmp_path: Path, fifo: Path) -> None:
    first = start(HOLDER, tmp_path / "lock", fifo)
    with fifo.open("w"):
        second = start(WAITER, tmp_path / "lock")
        assert second.stderr is not None
        assert "waiting" in second.stderr.readline()
        assert second.poll() is None

    output, _ = second.communicate(timeout=20)
    first.communicate(timeout=20)

    assert (output, first.returncode, second.returncode) == ("mine\n", 0, 0)


def test_a_killed_set_up_keeps_the_lock_until_its_command_has_ended(tmp_path: Path, fifo: Path) -> None:
    holder = start(HOLDER, tmp_path / "lock", fifo)
    with fifo.open("w"):
        holder.kill()
        holder.wait(20)
        assert is_locked(tmp_path / "lock")
    # The output of the command ends with it.
    holder.communicate(timeout=20)

    with (tmp_path / "lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def test_a_terminated_set_up_ends_its_command(tmp_path: Path, fifo: Path) -> None:
    holder = start(HOLDER, tmp_path / "lock", fifo)
    with fifo.open("w"):
        holder.send_signal(signal.SIGTERM)
        holder.communicate(timeout=20)

    assert holder.returncode == 143
    assert not is_locked(tmp_path / "lock")


def test_a_set_up_terminated_while_a_command_starts_ends_that_too(tmp_path: Path, fifo: Path) -> None:
    holder = start(HOLDER.replace("with", EARLY + "with"), tmp_path / "lock", fifo)
    holder.communicate(timeout=20)

    assert holder.returncode == 143
    assert not is_locked(tmp_path / "lock")


def test_a_failed_command_is_named_with_the_end_of_its_output_and_a_hint(tmp_path: Path) -> None:
    with Steps.exclusive(tmp_path / "lock") as steps, pytest.raises(SetUpFailed) as failure:
        steps.run(["sh", "-c", "seq 1000; echo broken >&2; exit 3"], cwd=tmp_path, hint="Mend it.")

    message = str(failure.value)
    assert "exit code 3" in message
    assert message.endswith("broken\nMend it.")
    assert "\n1\n" not in message


def test_a_program_that_is_not_there_is_a_failure_too(tmp_path: Path) -> None:
    with Steps.exclusive(tmp_path / "lock") as steps, pytest.raises(SetUpFailed, match="cannot be started"):
        steps.run([tmp_path / "nothing"], cwd=tmp_path)


def test_steps_are_told_on_standard_error_with_their_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Steps.exclusive(tmp_path / "lock") as steps:
        with steps.step("Packages"):
            pass
        with pytest.raises(SetUpFailed), steps.step("Client"):
            raise SetUpFailed("no")

    output = capsys.readouterr()
    assert output.out == ""
    packages, client = output.err.splitlines()
    assert packages.split() == ["Packages", "0.0", "s"]
    assert client.split() == ["Client", "failed"]
