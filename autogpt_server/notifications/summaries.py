"""Weekly summaries: for each user in their own zone, once for each week."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.data.users import Users
from autogpt_server.model import clock
from autogpt_server.model.account import User
from autogpt_server.model.ids import least_id
from autogpt_server.model.notification import NotificationType

#: From this hour of Monday on, in the user's zone.
_HOUR = 8
_PAGE = 200
# An id tells when an execution was made.
_COUNTS = """
SELECT "status", COUNT(*) FROM "AgentGraphExecution" WHERE "userId" = ? AND "id" >= ? AND "id" < ? GROUP BY "status"
"""


def queue_weekly_summaries(database: Database) -> int:
    """Queue the summary of the week before for everybody where it is Monday, 08:00, or later in the week.

    Safe to repeat: each week is told once.  A user who was made this week is told nothing of the one before.

    Returns:
        Users that were looked at.
    """
    now, users, cursor, seen = clock.now(), Users(database), None, 0
    while True:
        page = users.list(limit=_PAGE, cursor=cursor)
        for user in page.items:
            seen += 1
            if user.disabled_at is None:
                _queue(database, user, now)
        if (cursor := page.next_cursor) is None:
            return seen


def _queue(database: Database, user: User, now: datetime) -> None:
    zone = _zone(user.timezone)
    local = now.astimezone(zone)
    monday = local.date() - timedelta(days=local.weekday())
    begins = datetime(monday.year, monday.month, monday.day, tzinfo=zone)
    if local < begins.replace(hour=_HOUR) or user.created_at > begins:
        return
    first = monday - timedelta(days=7)
    week = (datetime(first.year, first.month, first.day, tzinfo=zone), begins)
    key = "{}-W{:02}".format(*first.isocalendar()[:2])
    with database.read() as c:
        known = c.execute(
            database.sql('SELECT 1 FROM "Notification" WHERE "userId" = ? AND "type" = ? AND "key" = ?'),
            (user.id, NotificationType.WEEKLY_SUMMARY.value, key),
        ).first()
        data = None if known is not None else _count(database, c, user.id, *week)
    if data is None:
        return
    data |= {"first_day": first.isoformat(), "last_day": (monday - timedelta(days=1)).isoformat()}
    with database.write() as c:
        queue_notifications(database, c, [News(user.id, NotificationType.WEEKLY_SUMMARY, key, data)], now)


def _count(database: Database, c: Connection, user_id: str, first: datetime, last: datetime) -> dict[str, Any] | None:
    """Count a user's executions of a time by status; None where there was none: silence says as much."""
    span = (least_id(clock.to_ms(first)), least_id(clock.to_ms(last)))
    counts: dict[str, int] = {row[0]: int(row[1]) for row in c.execute(database.sql(_COUNTS), (user_id, *span))}
    total = sum(counts.values())
    completed, failed = counts.get("COMPLETED", 0), counts.get("FAILED", 0)
    others = total - completed - failed
    return {"total": total, "completed": completed, "failed": failed, "others": others} if total else None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
