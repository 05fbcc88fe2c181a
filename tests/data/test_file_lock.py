from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autogpt_server.data.file_lock import FileLock
from autogpt_server.errors import Unavailable

HOLD = """
import sys
from pathlib import Path
from autogpt_server.data.file_lock import FileLock
with FileLock(Path(sys.argv[1])).hold(5):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it reads a line, or is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_held_lock_excludes_other_processes(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")

    with holder(tmp_path / "lock"):
        with pytest.raises(Unavailable, match=r"for 0\.05 s"):
            with lock.hold(0.05):
                pass


def test_a_waiter_gets_the_lock_when_its_holder_is_killed(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")

    with holder(tmp_path / "lock") as process:
        threading.Timer(0.1, process.send_signal, (signal.SIGKILL,)).start()
        with lock.hold(10):
            assert process.wait(5) != 0


def test_who_gave_up_waiting_does_not_keep_the_lock_from_others(tmp_path: Path):
    lock, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")

    with other.hold(1):
        for _ in range(3):
            with pytest.raises(Unavailable):
                with lock.hold(0.01):
                    pass
    # Now the kernel grants the lock to the wait that was given up.

    with other.hold(5):
        pass
    with lock.hold(5):
        pass


def test_waiting_again_after_giving_up_gets_the_lock(tmp_path: Path):
    lock, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with other.hold(1):
        with pytest.raises(Unavailable):
            with lock.hold(0.01):
                pass
        threads = threading.active_count()
        with pytest.raises(Unavailable):
            with lock.hold(0.01):
                pass
        assert threading.active_count() == threads

    with lock.hold(5):
        with pytest.raises(Unavailable):
            with other.hold(0.01):
                pass


def test_an_error_in_the_block_frees_the_lock(tmp_path: Path):
    lock, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")

    with pytest.raises(ZeroDivisionError):
        with lock.hold(1):
            raise ZeroDivisionError

    with other.hold(1):
        pass


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_neither_has_the_lock_nor_keeps_it_from_others(tmp_path: Path):
    lock, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    read, write = os.pipe()

    with lock.hold(1):
        child = os.fork()
        if child == 0:
            excluded = False
            try:
                with lock.hold(0.05):
                    pass
            except Unavailable:
                excluded = True
            os.write(write, b"excluded" if excluded else b"entered")
            time.sleep(30)  # killed below
            os._exit(0)
        assert os.read(read, 8) == b"excluded"

    # The child lives on with whatever it has open.
    try:
        with other.hold(5):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_lock_file_that_cannot_be_made_is_an_outage(tmp_path: Path):
    with pytest.raises(Unavailable, match="cannot be opened"):
        with FileLock(tmp_path / "missing" / "lock").hold(1):
            pass
