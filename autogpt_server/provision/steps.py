"""The set-up as the person at the terminal sees it: one line per step, one set-up at a time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from autogpt_server.errors import ServerError
from autogpt_server.provision.held_signals import held_signals

#: Lines of a failed command's output that are shown.
_SHOWN_LINES = 30


class SetUpFailed(ServerError):
    """Something could not be installed or made; says what, and how to go on."""


class Steps:
    """Runs commands under a lock that they share, and tells on standard error what is done and how long it took."""

    def __init__(self, lock: int) -> None:
        self._lock = lock

    @classmethod
    @contextmanager
    def exclusive(cls, lock_path: Path) -> Generator[Steps]:
        """Hold the lock of a checkout's set-up, after whoever holds it now.

        Commands inherit the lock: when only this process is killed, the next set-up waits until they have ended.
        """
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another set-up is at work here; waiting for it\n")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield cls(lock)
        finally:
            os.close(lock)

    @contextmanager
    def step(self, what: str) -> Generator[None]:
        """Announce a step, and how long it took when it is done."""
        started = time.monotonic()
        say(f"  {what:<44} ")
        try:
            yield
        except BaseException:
            say("failed\n")
            raise
        say(f"{time.monotonic() - started:5.1f} s\n")

    def run(
        self,
        command: Sequence[Path | str],
        *,
        cwd: Path,
        hint: str = "",
        path: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command to its end and return what it wrote to standard output.

        Args:
            hint: What may help when it fails.
            path: A folder where programs are looked for first.
            variables: Added to the environment that it inherits.

        Raises:
            SetUpFailed: It cannot be started or returned a failure; with the last lines of its output.
        """
        name = " ".join(str(part) for part in command)
        process: subprocess.Popen[str] | None = None
        try:
            # Between its start and the moment when it is known here, a signal would leave it behind.
            with held_signals():
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=_environment(path, variables or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    pass_fds=(self._lock,),
                )
            output, errors = process.communicate()
        except OSError as error:
            raise SetUpFailed(f"{name}\ncannot be started: {error}\n{hint}".rstrip()) from error
        except BaseException:
            if process is not None:
                process.kill()
                process.wait()
            raise
        if process.returncode != 0:
            lines = (output + errors).rstrip().splitlines()[-_SHOWN_LINES:]
            failure = f"failed with exit code {process.returncode}:"
            raise SetUpFailed("\n".join([name, failure, *lines, hint]).rstrip())
        return output

    def compile(self, python: Path, folder: Path) -> None:
        """Compile a folder of Python files on all cores, also where the environment forbids it for imports.

        What does not compile is left alone: packages carry files that are not for import.
        """
        with suppress(SetUpFailed):
            self.run([python, "-I", "-m", "compileall", "-qq", "-j", "0", folder], cwd=folder)


def say(text: str) -> None:
    """Write to standard error at once: standard output belongs to the program that is being set up."""
    sys.stderr.write(text)
    sys.stderr.flush()


def _environment(path: Path | None, variables: Mapping[str, str]) -> dict[str, str]:
    environment = {**os.environ, **variables}
    if path is not None:
        environment["PATH"] = os.pathsep.join([str(path), environment.get("PATH", os.defpath)])
    return environment
