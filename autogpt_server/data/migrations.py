"""Brings a database to this release's schema at start, and back on request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autogpt_server.data.direct_url import check_direct_url, direct_database_url
from autogpt_server.data.migration_files import FOLDER, Migration, list_migrations
from autogpt_server.data.migration_log import Applied, MigrationLog, open_log
from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.service.crash_points import crash_point
from autogpt_server.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MigrationStatus:
    """Names of migrations, oldest first: applied, still to apply, and what keeps this release from starting."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    problems: tuple[Problem, ...]


def migrate(settings: Settings, *, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own, and name what was applied.

    Safe to call in several processes at once: one applies, the others wait for it.

    Raises:
        InvalidError: The database belongs to a newer release, an applied migration was changed since, a migration
            failed, of which then nothing is left, or ``DIRECT_URL`` leads elsewhere.
        Unavailable: The database does not answer, or somebody else migrates for too long.
    """
    check_direct_url(settings)
    done: list[str] = []
    with _connected(settings, folder) as (records, files):
        # Nearly always there is nothing to do, which needs no lock to see.
        while _pending(files, records.applied()):
            with records.transaction():
                pending = _pending(files, records.applied())
                if pending:
                    _run(records.apply, pending[0])
                    done.append(pending[0].name)
                    crash_point("migration.applied")
            crash_point("migration.committed")
    if done:
        log.info("migrated the database: %s", ", ".join(done))
    return done


def status(settings: Settings, *, folder: Path = FOLDER) -> MigrationStatus:
    """Tell what is applied and what is not, without changing anything but a missing SQLite file."""
    with _connected(settings, folder) as (records, files):
        applied = records.applied()
    names = {record.name for record in applied}
    return MigrationStatus(
        applied=tuple(record.name for record in applied),
        pending=tuple(migration.name for migration in files if migration.name not in names),
        problems=tuple(_problems(files, applied)),
    )


def downgrade(settings: Settings, steps: int = 1, *, to: str | None = None, folder: Path = FOLDER) -> list[str]:
    """Undo the newest migrations and name what was undone, newest first.  What their tables held is lost.

    Args:
        settings: Name the database.
        steps: How many to undo.
        to: The newest migration to keep; every later one is undone, however many ``steps`` says.
        folder: Where the migrations are.

    Raises:
        InvalidError: ``to`` is not applied, or this release does not know how to undo what is.
        Unavailable: The database does not answer.
    """
    with _connected(settings, folder) as (records, files):
        applied = records.applied()
        _refuse(_problems(files, applied))
        names = [record.name for record in applied]
        if to is not None and to not in names:
            raise InvalidError(f"Migration {to} is not applied.")
        keep = max(0, len(names) - steps) if to is None else names.index(to) + 1
        by_name = {migration.name: migration for migration in files}
        undo = [by_name[name] for name in reversed(names[keep:])]
        for migration in undo:
            with records.transaction():
                newest = max((record.name for record in records.applied()), default=None)
                if newest != migration.name:
                    raise InvalidError(f"Another process migrates this database: {newest} is now its newest migration.")
                _run(records.undo, migration)
    return [migration.name for migration in undo]


@contextmanager
def _connected(settings: Settings, folder: Path) -> Generator[tuple[MigrationLog, list[Migration]]]:
    url = direct_database_url(settings)
    records = open_log(url)
    try:
        yield records, list_migrations(url.provider, folder)
    finally:
        records.close()


def _pending(files: list[Migration], applied: list[Applied]) -> list[Migration]:
    _refuse(_problems(files, applied))
    names = {record.name for record in applied}
    return [migration for migration in files if migration.name not in names]


def _problems(files: list[Migration], applied: list[Applied]) -> Iterator[Problem]:
    known = {migration.name: migration.checksum for migration in files}
    for record in applied:
        if record.name not in known:
            yield Problem(
                record.name,
                "was applied by a newer release, which this one does not know",
                "start that release, or undo the migration there with: autogpt migrate down",
            )
        elif not record.finished:
            yield Problem(record.name, "was begun by another tool and failed", "mend it with that tool")
        elif record.checksum != known[record.name]:
            yield Problem(
                record.name,
                "was changed after it had been applied",
                "restore its migration.sql; changes belong into a new migration",
            )


def _refuse(problems: Iterator[Problem]) -> None:
    found = list(problems)
    if found:
        raise InvalidError("The database and this release do not fit together.", found)


def _run(step: Callable[[Migration], None], migration: Migration) -> None:
    try:
        step(migration)
    except Unavailable:
        raise
    except Exception as error:
        # Whatever the driver raised, the caller's transaction undoes it all.
        raise InvalidError(
            "The database could not be migrated; it is as it was before.", [Problem(migration.name, str(error).strip())]
        ) from error
