"""``autogpt backup`` and ``autogpt restore``: on the database itself, while servers run or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autogpt_server.settings import Settings

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def back_up(
    file: _File,
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing, only read FILE and tell whether it is whole.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where there is one.")] = False,
) -> None:
    """Write everything in the database into one file, as it is at one moment, and read it again.

    Servers go on meanwhile.  Stored files and keys are not in it: see docs/operating.md.
    """
    from autogpt_server.data.backup.archive import Archive
    from autogpt_server.data.backup.backup import back_up as write
    from autogpt_server.errors import ConflictError, InvalidError, Problem
    from autogpt_server.settings import Settings

    if verify:
        with Archive(file) as archive:
            archive.verify()
            manifest = archive.manifest
    else:
        if file.exists() and not force:
            raise ConflictError(f"There is a file {file} already; --force replaces it.")
        try:
            manifest = write(Settings(), file)
        except OSError as error:
            problem = Problem(str(file), error.strerror or str(error), "choose another place")
            raise InvalidError("The backup cannot be written.", [problem]) from None
    rows = sum(part.rows for part in manifest.tables.values())
    print(f"{file} is whole: {rows:,} rows in {len(manifest.tables)} tables, as they were at {manifest.created_at}")


def restore(
    file: _File,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    schedules_enabled: Annotated[
        bool, typer.Option("--schedules-enabled", help="Let schedules go on; by default they start paused.")
    ] = False,
    resume_executions: Annotated[
        bool,
        typer.Option(
            "--resume-executions", help="Let executions go on that had not ended; by default they are stopped."
        ),
    ] = False,
) -> None:
    """Replace everything in the database by what a backup holds: all of it, or nothing.

    Servers may run meanwhile: their executors stop and start again.
    """
    from autogpt_server.cli.screen import note
    from autogpt_server.data.backup.archive import Archive
    from autogpt_server.data.backup.restore import restore as replace
    from autogpt_server.settings import Settings

    settings = Settings()
    if not yes:
        with Archive(file) as archive:
            question = f"Replace everything in the database by what it was at {archive.manifest.created_at}?"
        typer.confirm(question, abort=True)
    done = replace(settings, file, enables_schedules=schedules_enabled, resumes_executions=resume_executions)
    print(f"{done.rows:,} rows are as they were at {done.manifest.created_at}.")
    if done.paused:
        print(f"{done.paused:,} schedules are paused; autogpt schedule resume lets them go on.")
    if done.stopped:
        print(f"{done.stopped:,} executions had not ended and were stopped.")
    if lost := _lost_secrets(settings):
        note(f"{lost:,} secrets were encrypted under keys that are not here: put back the key file of that time.")


def _lost_secrets(settings: Settings) -> int:
    from autogpt_server.cli.direct import open_database
    from autogpt_server.data.keyring import open_keyring
    from autogpt_server.data.sealed import unreadable
    from autogpt_server.errors import InvalidError

    with open_database() as database:
        try:
            return len(unreadable(database, open_keyring(settings, database)))
        except InvalidError as error:
            raise InvalidError(
                "The rows are restored, but the secrets among them cannot be opened.", error.problems
            ) from None


def prune(
    executions: Annotated[
        int | None,
        typer.Option(
            "--executions-days", min=1, max=36_500, help="Keep executions for so many; otherwise as the setting says."
        ),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option("--slots-days", min=7, max=36_500, help="Keep slots for so many; otherwise as the setting says."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be deleted.")] = False,
) -> None:
    """Delete executions that ended, and slots that were due, long ago: on the database itself, in short steps."""
    from autogpt_server.cli.direct import open_database
    from autogpt_server.data.retention import prune as delete
    from autogpt_server.settings import Settings

    settings = Settings()
    with open_database() as database:
        done = delete(
            database,
            executions_days=executions or settings.retention_executions_days,
            slots_days=slots or settings.retention_slots_days,
            dry_run=dry_run,
        )
    print(f"{done}.")
