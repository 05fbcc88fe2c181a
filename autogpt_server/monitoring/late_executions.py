"""Reports executions that wait for too long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.late_executions import LateExecution, count_running, find_late_executions, has_waiting
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.model import clock
from autogpt_server.model.alert import AlertKind, Finding
from autogpt_server.model.notification import NotificationType
from autogpt_server.monitoring.telling import tell
from autogpt_server.settings import Settings

#: Executions that one report names.
_LIMIT = 1_000
NOTHING_LATE = "No late executions detected."


def report_late_executions(settings: Settings, database: Database) -> str:
    """Find executions that have been QUEUED for too long, keep an alert for each user concerned, and return a report.

    Those that were made before the range that is checked are not looked at any more.
    """
    now = clock.now()
    threshold = timedelta(seconds=settings.execution_late_notification_threshold_secs)
    first = now - timedelta(seconds=settings.execution_late_notification_checkrange_secs)
    late = find_late_executions(database, first, now - threshold, _LIMIT)
    by_user: dict[str, list[LateExecution]] = defaultdict(list)
    for execution in late:
        by_user[execution.user_id].append(execution)
    findings = [
        Finding(
            AlertKind.LATE_EXECUTIONS,
            user_id,
            user_id,
            f"{_count(len(theirs))} waiting for more than {threshold.total_seconds():,.0f} s, the oldest since "
            f"{_time(theirs[0])}",
            _severity(len(theirs), (now - theirs[0].created_at) / threshold),
        )
        for user_id, theirs in by_user.items()
    ]

    def still_waits(c: Connection, user_id: str) -> bool:
        # What was made before the range waits on, and beyond the limit nobody has looked.
        return len(late) == _LIMIT or has_waiting(database, c, user_id, now - threshold)

    tell(database, AlertKind.LATE_EXECUTIONS, findings, now, still_waits)
    _tell_limits(settings, database, by_user, now)
    if not late:
        return NOTHING_LATE
    bound = f" (the first {_LIMIT:,})" if len(late) == _LIMIT else ""
    lines = [
        f"* execution {one.id}, graph {one.graph_id} v{one.graph_version}, user {one.user_id}, status QUEUED, "
        f"created at {_time(one)}"
        for one in late
    ]
    head = (
        f"{len(late):,} late executions detected{bound}: of {len(by_user):,} users in the last "
        f"{settings.execution_late_notification_checkrange_secs:,} seconds, queued for more than "
        f"{settings.execution_late_notification_threshold_secs:,} seconds. "
        "`autogpt why ID` tells what each of them waits for."
    )
    return "\n".join((head, "Details:", *lines))


def _tell_limits(settings: Settings, database: Database, users: Iterable[str], now: datetime) -> None:
    """Tell users whose executions wait because as many of theirs run as may: once an hour."""
    limit = settings.max_concurrent_per_user
    if limit is None:
        return
    for user_id in users:
        if count_running(database, user_id) >= limit:
            message = f"{limit:,} executions of yours run, as many as may at the same time; others wait for them"
            data = {"subject": "AUTOGPT_MAX_CONCURRENT_PER_USER", "message": message}
            key = now.strftime("%Y-%m-%dT%H")
            with database.write() as c:
                queue_notifications(database, c, [News(user_id, NotificationType.LIMIT_REACHED, key, data)], now)


def _severity(count: int, times_threshold: float) -> int:
    """One step for each doubling of the number, and of the time that the oldest has waited."""
    return count.bit_length() + int(times_threshold).bit_length()


def _count(number: int) -> str:
    return "1 execution has been" if number == 1 else f"{number:,} executions have been"


def _time(execution: LateExecution) -> str:
    return execution.created_at.isoformat(timespec="seconds").replace("+00:00", "Z")
