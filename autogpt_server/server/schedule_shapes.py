"""Schedules as REST takes and answers them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, WithJsonSchema
from pydantic_core import PydanticCustomError

from autogpt_server.errors import InvalidError
from autogpt_server.model.credentials import CredentialsMetaInput
from autogpt_server.model.misfits import FIX
from autogpt_server.model.schedule import ExcludedDates, MisfirePolicy, OverlapPolicy, Schedule, Slot, SlotOutcome
from autogpt_server.scheduler.adopting import warning_of
from autogpt_server.scheduler.cron import parse_cron
from autogpt_server.scheduler.cron_words import describe
from autogpt_server.scheduler.preview import Preview
from autogpt_server.scheduler.timetable import due_at
from autogpt_server.server.shapes import Shape
from autogpt_server.server.written_times import Day, Moment, read_day


class DateRange(BaseModel):
    """Days on which a schedule does not fire, both included."""

    model_config = ConfigDict(extra="forbid")

    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    reason: Annotated[str, Field(max_length=200)] | None = None


def _as_range(value: Any) -> Any:
    if isinstance(value, str):
        # Here, so that a wrong one is named by its own place and not by those of a range.
        read_day(value)
        return {"from": value, "to": value}
    return value


_DayOrRange = Annotated[
    DateRange,
    BeforeValidator(_as_range),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, DateRange.model_json_schema()]}),
]


class Credentials(CredentialsMetaInput):
    """Which credentials an input shall use; no secret."""

    model_config = ConfigDict(extra="forbid")


def _as_reference(value: Any) -> Any:
    if not isinstance(value, dict):
        # Not what was given: it may be the secret.
        raise PydanticCustomError(
            "credentials", "must say which credentials to use", {FIX: "give {id, provider, type}, and no secret"}
        )
    return cast(dict[str, Any], value)


class ScheduleFields(BaseModel):
    """What may be set and changed; names and meanings are the same in both."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, description="By default `execute_graph`.")
    cron: str | None = Field(default=None, description="Unix cron: `minute hour day month weekday`, or `@daily`.")
    run_at: Moment | None = Field(default=None, description="Instead of cron: one run at this time.")
    interval_seconds: StrictInt | None = Field(default=None, description="Instead of cron: a run every so often.")
    timezone: str = Field(default="UTC", description="IANA name, such as `Europe/Berlin`.")
    inputs: dict[str, Any] = Field(default={}, description="Of each execution.")
    credentials: dict[str, Annotated[Credentials, BeforeValidator(_as_reference)]] = Field(
        default={}, description="By input name."
    )
    graph_version: StrictInt | None = Field(default=None, ge=1, description="By default whichever is active then.")
    misfire_policy: MisfirePolicy = Field(
        default=MisfirePolicy.LATEST, description="What happens with runs that nobody started in time."
    )
    misfire_limit: StrictInt = Field(default=100, description="Runs that `all` makes up for, the latest ones.")
    overlap_policy: OverlapPolicy = Field(
        default=OverlapPolicy.ALLOW, description="What happens while an execution of it has not ended."
    )
    starts_at: Moment | None = Field(default=None, description="No run before.")
    ends_at: Moment | None = Field(default=None, description="No run after.")
    max_runs: StrictInt | None = Field(default=None, description="Runs in all.")
    jitter_seconds: StrictInt = Field(default=0, description="Each run is put off by a part of this.")
    excluded_dates: list[_DayOrRange] = Field(
        default=[], description="Days without runs: dates, or `{from, to, reason}`, in the schedule's zone."
    )
    pause_after_failures: StrictInt | None = Field(
        default=None, description="Failed executions in a row after which it is paused."
    )

    def given(self) -> dict[str, Any]:
        """Give what was sent, as ``Scheduling`` takes it."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        if "excluded_dates" in values:
            values["excluded_dates"] = tuple(
                ExcludedDates(first=one.first, last=one.last, reason=one.reason) for one in self.excluded_dates
            )
        if "credentials" in values:
            values["credentials"] = {name: one.model_dump(mode="json") for name, one in self.credentials.items()}
        return values


class NewScheduleBody(ScheduleFields):
    """A schedule to be made.  Exactly one of cron, run_at and interval_seconds."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "Every working morning",
                "cron": "0 9 * * 1-5",
                "timezone": "Europe/Berlin",
                "inputs": {},
                "misfire_policy": "latest",
                "overlap_policy": "skip",
                "excluded_dates": ["2026-12-24", {"from": "2026-12-25", "to": "2026-12-31", "reason": "holidays"}],
            }
        },
    )


class ScheduleChanges(ScheduleFields):
    """What is to be different; what is left out stays."""

    is_enabled: StrictBool | None = Field(default=None, description="False pauses it, true resumes it.")


class Pause(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=1000)] | None = None
    by: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="Who pauses it.")


class PreviewBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin", "count": 5}}
    )

    cron: str
    timezone: str = "UTC"
    count: StrictInt = Field(default=10, ge=1, le=100)
    after: Moment | None = Field(default=None, description="By default now.")


class BackfillBody(BaseModel):
    """A range of the past whose runs are made up for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-31T23:59:59Z", "max_concurrent": 1}
        },
    )

    first: Moment = Field(alias="from")
    last: Moment = Field(alias="to")
    max_concurrent: StrictInt = Field(default=1, ge=1, le=1000, description="Executions of it that run at once.")


class ExcludedShape(Shape):
    first: date = Field(serialization_alias="from")
    last: date = Field(serialization_alias="to")
    reason: str | None


class ScheduleShape(Shape):
    id: str
    graph_id: str
    graph_version: int | None = Field(description="Null for whichever is active when it runs.")
    name: str
    cron: str = Field(description="Empty where it goes by `run_at` or `interval_seconds`.")
    run_at: datetime | None
    interval_seconds: int | None
    timezone: str
    description: str = Field(description="When it runs, in words.")
    inputs: dict[str, Any]
    credentials: dict[str, Any]
    is_enabled: bool
    paused_reason: str | None
    paused_by: str | None
    paused_at: datetime | None
    next_run_at: datetime | None = Field(description="Null where none comes by itself.")
    runs: int = Field(description="Runs so far.")
    misfire_policy: MisfirePolicy
    misfire_limit: int
    overlap_policy: OverlapPolicy
    starts_at: datetime | None
    ends_at: datetime | None
    max_runs: int | None
    jitter_seconds: int
    excluded_dates: list[ExcludedShape]
    pause_after_failures: int | None
    warnings: list[str]
    revision: int = Field(description="Raised by every change.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, schedule: Schedule) -> Self:
        slot = schedule.next_run_at
        return cls(
            id=schedule.id,
            graph_id=schedule.graph_id,
            graph_version=schedule.graph_version,
            name=schedule.name,
            cron=schedule.cron,
            run_at=schedule.run_at,
            interval_seconds=schedule.interval_seconds,
            timezone=schedule.timezone,
            description=_words(schedule),
            inputs=schedule.inputs,
            credentials=schedule.credentials,
            is_enabled=schedule.is_enabled,
            paused_reason=schedule.paused_reason,
            paused_by=schedule.paused_by,
            paused_at=schedule.paused_at,
            next_run_at=None if slot is None else due_at(schedule, slot),
            runs=schedule.runs,
            misfire_policy=schedule.misfire_policy,
            misfire_limit=schedule.misfire_limit,
            overlap_policy=schedule.overlap_policy,
            starts_at=schedule.starts_at,
            ends_at=schedule.ends_at,
            max_runs=schedule.max_runs,
            jitter_seconds=schedule.jitter_seconds,
            excluded_dates=[
                ExcludedShape(first=one.first, last=one.last, reason=one.reason) for one in schedule.excluded_dates
            ],
            pause_after_failures=schedule.pause_after_failures,
            warnings=_warnings(schedule),
            revision=schedule.revision,
            created_at=schedule.created_at,
            updated_at=schedule.updated_at,
        )


class SlotShape(Shape):
    """What became of a time at which a schedule was due, or of several skipped ones in a row."""

    scheduled_at: datetime
    outcome: SlotOutcome
    reason: str | None
    graph_execution_id: str | None
    fired_at: datetime
    last_scheduled_at: datetime | None = Field(description="The last one of several.")
    count: int | None = Field(description="How many it stands for; null where they were too many to be counted.")

    @classmethod
    def of(cls, slot: Slot) -> Self:
        return cls(
            scheduled_at=slot.scheduled_at,
            outcome=slot.outcome,
            reason=slot.reason,
            graph_execution_id=slot.execution_id,
            fired_at=slot.fired_at,
            last_scheduled_at=slot.last_scheduled_at,
            count=slot.count,
        )


class RunShape(Shape):
    utc: datetime
    local: str = Field(description="With the offset of the zone at that time.")


class ParkedShape(Shape):
    """A job row that is neither run nor deleted, as it cannot be restored."""

    table: str
    id: str
    reason: str


class PreviewShape(Shape):
    description: str
    runs: list[RunShape]
    warnings: list[str]

    @classmethod
    def of(cls, preview: Preview) -> Self:
        runs = [RunShape(utc=run.utc, local=run.local.isoformat()) for run in preview.runs]
        return cls(description=preview.description, runs=runs, warnings=list(preview.warnings))


class BackfillPreviewShape(Shape):
    slots: int = Field(description="Runs that the schedule has in the range.")
    to_run: int = Field(description="Those of them that have no execution yet.")
    first: datetime | None
    last: datetime | None


class BackfillShape(Shape):
    ids: list[str] = Field(description="Of the executions, by the times that they stand for.")


def _words(schedule: Schedule) -> str:
    if schedule.run_at is not None:
        return f"once, at {schedule.run_at:%Y-%m-%d %H:%M:%S} UTC"
    if schedule.interval_seconds is not None:
        return _every(schedule.interval_seconds)
    if schedule.is_adopted:
        return f"as its own trigger says, which calls itself '{schedule.cron}'"
    try:
        return describe(parse_cron(schedule.cron))
    except InvalidError as error:
        # Somebody wrote into the table; the others are to be listed nevertheless.
        return f"never: {error.message}"


def _every(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return f"every {unit}" if seconds == size else f"every {seconds // size:,} {unit}s"
    return f"every {seconds:,} s"


def _warnings(schedule: Schedule) -> list[str]:
    warning = warning_of(schedule)
    return [] if warning is None else [warning]
