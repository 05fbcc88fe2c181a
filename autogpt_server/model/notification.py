"""What users are told about, and how soon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class NotificationType(StrEnum):
    """Why a user is told something."""

    EXECUTION_FINISHED = "execution_finished"
    EXECUTION_FAILED = "execution_failed"
    SCHEDULE_PAUSED = "schedule_paused"
    LATE_EXECUTIONS = "late_executions"
    BLOCK_ERROR_RATE = "block_error_rate"
    LIMIT_REACHED = "limit_reached"
    WEEKLY_SUMMARY = "weekly_summary"


class Frequency(StrEnum):
    """How soon a user wants to be told."""

    IMMEDIATE = "immediate"
    HOURLY = "hourly"
    DAILY = "daily"
    NEVER = "never"


#: What holds for users who have said nothing else.
DEFAULT_FREQUENCIES = {
    NotificationType.EXECUTION_FINISHED: Frequency.NEVER,
    NotificationType.EXECUTION_FAILED: Frequency.HOURLY,
    NotificationType.SCHEDULE_PAUSED: Frequency.IMMEDIATE,
    NotificationType.LATE_EXECUTIONS: Frequency.IMMEDIATE,
    NotificationType.BLOCK_ERROR_RATE: Frequency.IMMEDIATE,
    NotificationType.LIMIT_REACHED: Frequency.HOURLY,
    NotificationType.WEEKLY_SUMMARY: Frequency.IMMEDIATE,
}

#: How long what is told at once waits for others like it: a thousand failures give one message.
WINDOW = timedelta(seconds=3)


class Preferences:
    """How soon a user wants to be told of each type.

    Args:
        chosen: What the user has said, by type; the others have their defaults.
        timezone: IANA name of the user's zone, in which hours and days end.
    """

    def __init__(self, chosen: Mapping[str, str], timezone: str) -> None:
        known = {kind: Frequency(chosen[kind]) for kind in NotificationType if chosen.get(kind) in _FREQUENCIES}
        self.frequencies = DEFAULT_FREQUENCIES | known
        self._timezone = timezone

    def due_at(self, kind: NotificationType, now: datetime) -> datetime | None:
        """Tell when something that happened now is to be told; None for never."""
        match self.frequencies[kind]:
            case Frequency.NEVER:
                return None
            case Frequency.IMMEDIATE:
                return now + WINDOW
            case Frequency.HOURLY:
                local = now.astimezone(self._zone())
                return (local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)).astimezone(UTC)
            case Frequency.DAILY:
                local = now.astimezone(self._zone())
                tomorrow = (local + timedelta(days=1)).date()
                return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=self._zone()).astimezone(UTC)

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self._timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return ZoneInfo("UTC")


_FREQUENCIES = frozenset(frequency.value for frequency in Frequency)


class TargetKind(StrEnum):
    """A way to somebody."""

    MAIL = "mail"
    WEBHOOK = "webhook"
    #: Any other, by a URL of Apprise.
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a user wants to be told."""

    id: str
    user_id: str
    kind: TargetKind
    name: str
    #: A mail address or a URL, which may hold secrets.
    address: str
    #: What a webhook's messages are signed with.
    secret: str | None
    is_enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Notification:
    """Something that a user is told."""

    id: str
    user_id: str
    type: NotificationType
    data: dict[str, Any]
    created_at: datetime


class MessageState(StrEnum):
    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """What travels to one target: one notification, or several that were due together."""

    id: str
    user_id: str
    #: None for the user's own address.
    target_id: str | None
    state: MessageState
    #: Ids, the first ones.
    notifications: list[str]
    #: Notifications in it.
    total: int
    attempt: int
    #: Whoever sent it died before it was known to be sent.
    is_repeated: bool
    try_at: datetime
    error: str | None
    sent_at: datetime | None
    created_at: datetime
