"""Schedules that a clock carried away which was ahead: once it is right again, they fire again as it shows.

Who fires moves a schedule on to its next slot by the clock of its machine.  A clock that was ten years ahead for a
minute leaves schedules that would be silent for ten years.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from autogpt_server.data.database import Database
from autogpt_server.data.firing import Firing
from autogpt_server.data.firing_plans import Plan
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import InvalidError
from autogpt_server.model import clock
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler.adopted import AdoptedTriggers
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.timetable import next_due

log = logging.getLogger(__name__)

#: Slots that lie further ahead than this were decided about by a clock that was; less, and they come soon anyway.
_AHEAD = timedelta(minutes=1)
#: Schedules that are read and moved at once.
_PAGE = 500


class PutBack:
    """Finds such schedules, and lets them go on from now.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._schedules, self._firing = Schedules(database, lambda ids: None), Firing(database)
        self._triggers = AdoptedTriggers(database)

    def run(self, get_on: Callable[[], None] = lambda: None) -> list[str]:
        """Move schedules back whose ledger tells of slots that are still to come; returns their ids.

        A slot that stands in the ledger already is not executed again when its time really comes.  Safe to repeat,
        and for several schedulers at the same time.

        Args:
            get_on: Called again and again.
        """
        moved: list[str] = []
        now, after = clock.from_ms(clock.now_ms()), ""
        while page := self._schedules.ahead(now, now + _AHEAD, after=after, limit=_PAGE):
            moved += self._move(page, now)
            after = page[-1].id
            get_on()
        if moved:
            log.warning("the clock was ahead when %d schedules fired; they go on from now", len(moved))
        return moved

    def _move(self, page: list[Schedule], now: datetime) -> list[str]:
        triggers = self._triggers.of_many(page)
        plans: list[Plan] = []
        for schedule in page:
            trigger = triggers.get(schedule.id)
            if schedule.is_adopted and trigger is None:
                continue
            try:
                slot = next_due(schedule, trigger, now)
            except InvalidError as error:
                log.error("schedule %s does not go on: %s", schedule.id, error)
                continue
            if slot is not None and schedule.next_run_at is not None and slot < schedule.next_run_at:
                plans.append(Plan(schedule, [], slot, "", None))
        back = [plan.schedule.model_copy(update={"next_run_at": plan.next_run_at}) for plan in plans]
        if plans:
            self._firing.advance(plans, {one.id: job_row(one, triggers.get(one.id)) for one in back})
        return [one.id for one in back]
