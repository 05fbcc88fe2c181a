"""A migrated database of its own for tests that share one longer than the fixtures of conftest.py keep it."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def migrated_database(request: pytest.FixtureRequest, folder: Path) -> Generator[str]:
    """Make a database of the kind that the fixture's parameter names, and give its address.

    Args:
        request: Of a fixture with the parameters "sqlite" and "postgresql".
        folder: Where a SQLite file is kept; relative addresses must start there.
    """
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "database.db")
        yield "file:database.db"
    else:
        template = request.getfixturevalue("postgresql_template")
        with request.getfixturevalue("postgres_server").database(template=template) as url:
            yield url
