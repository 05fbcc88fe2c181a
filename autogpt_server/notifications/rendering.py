"""What a message says: a subject, a text, and a page of HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, PackageLoader, StrictUndefined

from autogpt_server.model.account import User
from autogpt_server.model.notification import Notification, NotificationType

#: Notifications of one type that a digest lists.
_LISTED = 20

_TITLES = {
    NotificationType.EXECUTION_FINISHED: ("An execution has finished", "executions have finished"),
    NotificationType.EXECUTION_FAILED: ("An execution has failed", "executions have failed"),
    NotificationType.SCHEDULE_PAUSED: ("A schedule was paused", "schedules were paused"),
    NotificationType.LATE_EXECUTIONS: ("Executions are late", "reports of late executions"),
    NotificationType.BLOCK_ERROR_RATE: ("A block fails too often", "blocks fail too often"),
    NotificationType.LIMIT_REACHED: ("A limit is reached", "limits are reached"),
    NotificationType.WEEKLY_SUMMARY: ("Your week", "weekly summaries"),
}


@dataclass(frozen=True, slots=True)
class Rendered:
    subject: str
    text: str
    html: str


class Renderer:
    """Fills the templates."""

    def __init__(self) -> None:
        loader = PackageLoader("autogpt_server.notifications")
        options: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
        self._html = Environment(loader=loader, autoescape=True, **options)
        # Plain text has nothing to escape, and what it must not hold is taken out by whoever sends it.
        self._text = Environment(loader=loader, autoescape=False, **options)  # noqa: S701

    def render(self, user: User, notifications: Sequence[Notification], total: int) -> Rendered:
        """Write a message.

        Args:
            user: To whom.
            notifications: What it tells, the first ones.
            total: How many there are in all.
        """
        counts = Counter(one.type for one in notifications)
        subject = _subject(counts, total)
        values: dict[str, Any] = {
            "user": user,
            "subject": subject,
            "groups": [_group(kind, notifications, user.timezone) for kind in counts],
            "left_out": total - len(notifications),
        }
        return Rendered(
            subject,
            self._text.get_template("message.txt").render(values),
            self._html.get_template("message.html").render(values),
        )


def _subject(counts: Counter[NotificationType], total: int) -> str:
    kind = counts.most_common(1)[0][0]
    if len(counts) == 1:
        return _TITLES[kind][0] if total == 1 else f"{total:,} {_TITLES[kind][1]}"
    return f"{total:,} notifications: {_TITLES[kind][1]}, and others"


def _group(kind: NotificationType, notifications: Sequence[Notification], timezone: str) -> dict[str, Any]:
    of_kind = [one for one in notifications if one.type is kind]
    single, several = _TITLES[kind]
    return {
        "title": single if len(of_kind) == 1 else f"{len(of_kind):,} {several}",
        "type": kind.value,
        "items": [{"at": _local(one.created_at, timezone), **one.data} for one in of_kind[:_LISTED]],
        "left_out": max(0, len(of_kind) - _LISTED),
    }


def _local(moment: datetime, timezone: str) -> str:
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo("UTC")
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
