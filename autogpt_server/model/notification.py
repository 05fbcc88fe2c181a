"""What users are told about, and how soon."""

from __future__ import annotations

from enum import StrEnum


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
