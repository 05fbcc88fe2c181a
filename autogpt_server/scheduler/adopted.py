"""The triggers of schedules that were taken over from another deployment: they stay in their job rows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, cast

from apscheduler.triggers.base import BaseTrigger

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import read_jobs
from autogpt_server.errors import ConflictError
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.unpickling import NotRestorable, load_job_state


class AdoptedTriggers:
    """Reads triggers.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, schedule: Schedule) -> BaseTrigger | None:
        """Read the trigger of a schedule; None for one that has none of its own.

        Raises:
            ConflictError: Its job row is gone, or cannot be restored.
        """
        if not schedule.is_adopted:
            return None
        found = self.of_many([schedule]).get(schedule.id)
        if found is None:
            raise ConflictError(f"The job row of schedule {schedule.id} cannot be restored; give it a new cron.")
        return found

    def of_many(self, schedules: Sequence[Schedule]) -> dict[str, BaseTrigger]:
        """Read the triggers of those that have one of their own, by id; what cannot be restored is left out."""
        ids = [one.id for one in schedules if one.is_adopted]
        if not ids:
            return {}
        with self._db.read() as c:
            states = read_jobs(self._db, c, ids)
        found: dict[str, BaseTrigger] = {}
        for id_, state in states.items():
            with contextlib.suppress(NotRestorable):
                found[id_] = _steady(load_job_state(state)["trigger"])
        return found


def _steady(trigger: BaseTrigger) -> BaseTrigger:
    """Take the chance out of a trigger: every scheduler must find the same slots.  The schedule has its own jitter."""
    cast(Any, trigger).jitter = None
    return trigger
