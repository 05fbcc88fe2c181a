"""``--file``: copies files into the user's folder, from which blocks read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from autogpt_server.errors import BlockError, InvalidError, Problem
from autogpt_server.executor.user_files import UserFiles
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.settings import Settings


def parse_file(argument: str) -> tuple[Path, str]:
    """Split ``FILE[=NAME]``; without a name, blocks find the file by its own.

    Raises:
        InvalidError: There is no such file.
    """
    path, name = Path(argument), ""
    if not path.is_file():
        text, _, name = argument.rpartition("=")
        path = Path(text)
    if not path.is_file():
        raise InvalidError(
            "Bad file.", [Problem("--file", f"there is no file {argument!r}", "write FILE or FILE=NAME")]
        )
    return path, name or path.name


def copy_files(files: Iterable[tuple[Path, str]], settings: Settings, user_id: str = DEFAULT_USER_ID) -> None:
    """Copy files into the folder of a user, by default the local one, replacing those of the same names.

    Raises:
        InvalidError: A name leads outside the folder, or a file is too large.
    """
    folder = UserFiles(settings.files_dir / user_id, settings.max_file_bytes)
    for path, name in files:
        try:
            folder.write(name, path.read_bytes())
        except (BlockError, OSError) as error:
            raise InvalidError("The file cannot be copied.", [Problem("--file", str(error))]) from None
