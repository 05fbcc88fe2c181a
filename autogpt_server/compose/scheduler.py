"""``Scheduler`` as the server runs it: with what its system tasks do."""

from __future__ import annotations

from collections.abc import Mapping

from autogpt_server.scheduler import service
from autogpt_server.scheduler.jobs import Task


class Scheduler(service.Scheduler):
    """The scheduler, and in ``ports`` the rooms that it does not know."""

    def ports(self) -> Mapping[str, Task]:
        return {}
