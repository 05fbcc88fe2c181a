"""Schedules: when a graph is executed, what happens when that cannot be, and what became of each due time."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class MisfirePolicy(StrEnum):
    """What happens with slots that nobody fired in time, because no scheduler ran or the clock jumped."""

    SKIP = "skip"
    #: The latest one is made up for.
    LATEST = "latest"
    #: Each is made up for, up to a limit.
    ALL = "all"


class OverlapPolicy(StrEnum):
    """What happens with a slot while an execution of the same schedule has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    #: One waits until the other has ended; while one waits, further slots are skipped.
    BUFFER_ONE = "buffer_one"
    #: The running one is stopped, and the new one starts when that has ended.
    CANCEL_RUNNING = "cancel_running"


class SlotOutcome(StrEnum):
    FIRED = "fired"
    #: Fired, but later than the schedule's grace.
    LATE = "late"
    SKIPPED = "skipped"
    FAILED = "failed"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ExcludedDates(_Value):
    """Days on which a schedule does not fire, both ends included, in its time zone."""

    first: date
    last: date
    reason: str | None = None


class Schedule(_Value):
    """A schedule as it is stored.  Times are aware UTC.  Exactly one of cron, run_at and interval_seconds is given."""

    id: str
    graph_id: str
    #: None for whichever version is active when it fires.
    graph_version: int | None
    #: Version of the graph that the inputs were last checked against.
    checked_version: int | None = None
    user_id: str
    name: str
    #: Five fields or a name as ``@daily``; empty for the other two kinds.
    cron: str = ""
    run_at: datetime | None = None
    interval_seconds: int | None = None
    timezone: str = "UTC"
    is_enabled: bool = True
    inputs: dict[str, Any] = {}
    #: By input name; what ``CredentialsMetaInput`` says.
    credentials: dict[str, Any] = {}
    misfire_policy: MisfirePolicy = MisfirePolicy.LATEST
    #: Missed slots that ``all`` makes up for, the latest ones.
    misfire_limit: int = 100
    overlap_policy: OverlapPolicy = OverlapPolicy.ALLOW
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    max_runs: int | None = None
    #: Slots that led to an execution.
    runs: int = 0
    #: Each slot fires so much later at most, always the same for one slot.
    jitter_seconds: int = 0
    excluded_dates: tuple[ExcludedDates, ...] = ()
    #: Executions that ended FAILED in a row after which it is paused; None for never.
    pause_after_failures: int | None = None
    #: The next slot; None where none comes, or it is paused.
    next_run_at: datetime | None = None
    #: Raised by every edit.
    revision: int = 0
    paused_at: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None
    #: Taken over from another deployment: its trigger stands in its job row, whatever ``cron`` says.
    is_adopted: bool = False
    created_at: datetime
    updated_at: datetime

    @property
    def execution_inputs(self) -> dict[str, Any]:
        """What each execution takes: the inputs, and the credentials among them."""
        return {**self.inputs, **self.credentials}


class Slot(_Value):
    """What became of a due time, or of several skipped ones in a row."""

    schedule_id: str
    scheduled_at: datetime
    outcome: SlotOutcome
    reason: str | None = None
    execution_id: str | None = None
    #: The last one of a run of skipped ones.
    last_scheduled_at: datetime | None = None
    #: How many it stands for; None where they were too many to be counted.
    count: int | None = 1
    fired_at: datetime
