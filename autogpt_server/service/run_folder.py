"""The folder of sockets and marks that the processes of one server share."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.settings import Settings


def open_run_folder(settings: Settings) -> Path:
    """Make the run folder if it is missing, and return it.

    It may stand in the system's folder for temporary files under a name that others can foresee, so a folder that
    is not ours alone is refused: whoever owns it could answer in the place of our processes.

    Raises:
        InvalidError: It belongs to another user, others may write to it, or it is no folder.
    """
    folder = settings.run_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise InvalidError(
            "The folder for sockets cannot be trusted.",
            [
                Problem(
                    str(folder),
                    "is not a folder of this user alone",
                    "remove it, or set AUTOGPT_DATA_DIR to a shorter path",
                )
            ],
        )
    return folder
