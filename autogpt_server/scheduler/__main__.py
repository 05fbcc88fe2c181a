"""``python -m autogpt_server.scheduler``: the scheduler alone, for a machine of its own."""

from __future__ import annotations

import logging
import sys

from autogpt_server.compose.scheduler import Scheduler
from autogpt_server.data.migrations import migrate
from autogpt_server.errors import Unavailable

log = logging.getLogger(__name__)

#: Seconds between two tries to reach the database at the start.
_RETRY_SECONDS = 1.0


class _Alone(Scheduler):
    @property
    def name(self) -> str:
        return Scheduler.__name__

    def run(self) -> None:
        # In the whole server a process of its own does this first.
        while not self._migrate():
            self.stopping.wait(_RETRY_SECONDS)
        super().run()

    def _migrate(self) -> bool:
        """Tell whether the database answered; a machine of its own may well start before that of the database."""
        try:
            migrate(self.settings)
        except Unavailable as error:
            log.warning("cannot start yet, trying again: %s", error)
            return False
        return True


def main() -> int:
    """Serve until a signal says stop; returns 0, or leaves with the exit code of an ``AppProcess``."""
    return _Alone().start()


if __name__ == "__main__":
    sys.exit(main())
