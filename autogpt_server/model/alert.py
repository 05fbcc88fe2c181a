"""What is told to people about the server's state: once, and again when it got worse."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AlertKind(StrEnum):
    LATE_EXECUTIONS = "late_executions"
    BLOCK_ERROR_RATE = "block_error_rate"
    SCHEDULE_DRIFT = "schedule_drift"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong now.

    Args:
        kind: What sort of thing.
        subject: What it is about: the id of a user or a schedule, the name of a block.
        user_id: Whom it concerns; None for whoever runs the server.
        message: In words.
        severity: Told again only when this rises.
    """

    kind: AlertKind
    subject: str
    user_id: str | None
    message: str
    severity: int


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding from the time when it was first made to the time when it was not made any more."""

    id: str
    kind: AlertKind
    subject: str
    user_id: str | None
    message: str
    severity: int
    opened_at: datetime
    last_seen_at: datetime
    #: When people were told last.
    told_at: datetime
    resolved_at: datetime | None
