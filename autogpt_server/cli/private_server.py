"""A server for the length of one command, on ports that are free and with the same data folder as any other.

It runs in its own session, so that Ctrl-C at the terminal reaches only the command.  When the command dies, however
it dies, the pipe to the server's standard input closes and the server stops in order (see ``tied_server``).
"""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.data.database import Database
from autogpt_server.data.query_engine import engine_sockets
from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.settings import Settings

#: `env` sets what differs from the settings of other servers: only settings.py knows the environment.
_COMMAND = [
    *("/usr/bin/env", "AUTOGPT_HOST=127.0.0.1", "AUTOGPT_PORT=0", "AUTOGPT_EXECUTION_MANAGER_PORT=0"),
    "AUTOGPT_EXECUTION_SCHEDULER_PORT=0",
    "AUTOGPT_NOTIFICATION_PORT=0",
    "AUTOGPT_LOG_FORMAT=human",
    *(sys.executable, "-m", "autogpt_server.cli.tied_server"),
]
#: Seconds until the server must answer; the first start migrates the database.
_START_LIMIT = 60.0
#: Seconds that an orderly stop may take: running blocks get ``drain_seconds`` of it.
_STOP_LIMIT = 30.0
#: After so long a key expires that a killed command has left behind.
_KEY_TIME = timedelta(days=7)
#: Lines of its log that are shown when it fails to start.
_LOG_LINES = 15


class PrivateServer:
    """Starts a server on entry, stops it in order on exit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.log_path: Path = settings.data_dir / "private-server.log"
        self.url = ""

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            Unavailable: A server holds the data folder already, or this one did not start; says why.
        """
        if data_folder_is_served(self._settings):
            raise Unavailable(
                f"A server at another address already uses the data folder {self._settings.data_dir}; "
                "give its address with --url."
            )
        self._settings.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        try:
            self.url = self._wait_for_address()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait_for_address(self) -> str:
        """Read its first line, which it prints when it answers."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _START_LIMIT)
        if not readable:
            raise Unavailable(f"The private server was not ready within {_START_LIMIT:g} s:\n{self._last_lines()}")
        address = re.search(rb"http://\S+", self._process.stdout.readline())
        if address is None:
            raise Unavailable(f"The private server did not start:\n{self._last_lines()}")
        return address[0].decode()

    def _stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _last_lines(self) -> str:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([*lines[-_LOG_LINES:], f"(all of it: {self.log_path})"])


@contextmanager
def key_for_now(settings: Settings) -> Generator[SecretStr | None]:
    """Make a key for the length of one command where a private server asks for keys; None where it asks for none.

    Whoever can start a server on a data folder may use what is in it.
    """
    database = Database.from_settings(settings)
    try:
        accounts = Accounts(database)
        if not accounts.keys.any_made():
            yield None
            return
        expires_at = clock.now() + _KEY_TIME
        key, text = accounts.add_key(accounts.users.get(DEFAULT_USER_ID), "autogpt run", None, expires_at)
        try:
            yield SecretStr(text)
        finally:
            accounts.keys.revoke(key.id, None)
    finally:
        database.close()


def data_folder_is_served(settings: Settings) -> bool:
    """Tell whether a server runs on this data folder, whatever its address: its query engine listens there."""
    return any(_answers(path) for path in engine_sockets(settings))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
