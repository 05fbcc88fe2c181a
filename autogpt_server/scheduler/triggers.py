"""The trigger that stands in APScheduler's job rows: its `CronTrigger`, with the times of Unix cron."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from autogpt_server.scheduler.cron import CronExpression, parse_cron
from autogpt_server.scheduler.zones import parse_zone

#: Of the pickled state.  A newer server may add to it; an older one refuses what it does not know.
_STATE_VERSION = 1
_MICROSECOND = timedelta(microseconds=1)


class UnixCronTrigger(CronTrigger):
    """Fires when a Unix cron expression comes in a time zone, within optional bounds.

    Where APScheduler reads the fields itself, 0 is Monday, both day fields must fit, a skipped time is shifted by the
    jump and a repeated one fires twice.  Pickles as text, so a row is small, and any APScheduler 3.11 restores it that
    can import this module; module and class must therefore keep their names.

    Args:
        expression: As `parse_cron` reads it.
        timezone: An IANA name.
        start_date: Aware; earliest time to fire at.
        end_date: Aware; latest time to fire at.
        jitter: Seconds that a time is put off at most, at random.

    Raises:
        InvalidError: The expression or the zone is not valid.
    """

    __slots__ = ("expression",)
    # The base says which it sets; these are narrower.
    timezone: ZoneInfo
    expression: CronExpression

    def __init__(
        self,
        expression: str,
        timezone: str = "UTC",
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        jitter: int | None = None,
    ) -> None:
        zone = parse_zone(timezone)
        super().__init__(timezone=zone, start_date=_utc(start_date), end_date=_utc(end_date), jitter=jitter)
        self.expression = parse_cron(expression)
        # The base's reading of cron; nothing here asks for it.
        self.fields = []

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the next time to fire at, in the trigger's zone; None when there is none within the bounds.

        It lies after the previous time, also where that is long past: what was missed is for the scheduler to judge.
        Without a previous time it is not before `now`.
        """
        earliest = now.astimezone(UTC)
        if previous_fire_time is not None:
            earliest = previous_fire_time.astimezone(UTC) + _MICROSECOND
        if self.start_date is not None:
            earliest = max(earliest, self.start_date)
        found = self.expression.next_after(earliest - _MICROSECOND, self.timezone)
        if found is None or (self.end_date is not None and found > self.end_date):
            return None
        found = self._apply_jitter(found, self.jitter, now)
        if self.end_date is not None:
            found = min(found, self.end_date)
        return found.astimezone(self.timezone)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {"version": _STATE_VERSION, "cron": self.expression.text, "timezone": self.timezone.key}
        optional = {"start_date": self.start_date, "end_date": self.end_date, "jitter": self.jitter}
        return state | {name: value for name, value in optional.items() if value is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["version"] > _STATE_VERSION:
            raise ValueError(
                f"The trigger was stored in form {state['version']} by a newer server; upgrade this one, "
                f"which reads forms up to {_STATE_VERSION}"
            )
        self.timezone = parse_zone(state["timezone"])
        self.expression = parse_cron(state["cron"])
        self.start_date, self.end_date = state.get("start_date"), state.get("end_date")
        self.jitter, self.fields = state.get("jitter"), []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnixCronTrigger) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash((self.expression.text, self.timezone.key))

    def __str__(self) -> str:
        return f"cron[{self.expression}, {self.timezone.key}]"

    def __repr__(self) -> str:
        bounds = {"start_date": self.start_date, "end_date": self.end_date, "jitter": self.jitter}
        options = "".join(f", {name}={str(value)!r}" for name, value in bounds.items() if value is not None)
        return f"<UnixCronTrigger ({self.expression.text!r}, timezone={self.timezone.key!r}{options})>"


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("start_date and end_date must be aware: without a time zone they differ between machines")
    return moment.astimezone(UTC)
