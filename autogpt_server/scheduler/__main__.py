"""``python -m autogpt_server.scheduler``: the scheduler alone, for a machine of its own."""

from __future__ import annotations

import sys

from autogpt_server.data.migrations import migrate
from autogpt_server.scheduler.service import Scheduler


class _Alone(Scheduler):
    @property
    def name(self) -> str:
        return Scheduler.__name__

    def run(self) -> None:
        # In the whole server a process of its own does this first.
        migrate(self.settings)
        super().run()


def main() -> int:
    """Serve until a signal says stop; returns 0, or leaves with the exit code of an ``AppProcess``."""
    return _Alone().start()


if __name__ == "__main__":
    sys.exit(main())
