"""Keeps alerts, and tells of what is new or worse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from autogpt_server.data.alerts import Alerts
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.notifications import News, owners, queue_notifications
from autogpt_server.model import clock
from autogpt_server.model.alert import AlertKind, Finding
from autogpt_server.model.notification import NotificationType

log = logging.getLogger(__name__)


_TYPES = {
    AlertKind.LATE_EXECUTIONS: NotificationType.LATE_EXECUTIONS,
    AlertKind.BLOCK_ERROR_RATE: NotificationType.BLOCK_ERROR_RATE,
    AlertKind.SCHEDULE_DRIFT: NotificationType.LATE_EXECUTIONS,
}


def tell(
    database: Database,
    kind: AlertKind,
    findings: Sequence[Finding],
    now: datetime,
    lasts: Callable[[Connection, str], bool] = lambda c, subject: False,
) -> None:
    """Keep everything that a look has found of a kind; log what is new or worse, and tell whom it concerns.

    Args:
        database: Where alerts are kept.
        kind: Of the findings.
        findings: What was found.
        now: The time.
        lasts: Of a subject that was not found: whether its reason is there all the same.
    """

    def notify(c: Connection, finding: Finding) -> None:
        concerned = owners(database, c) if finding.user_id is None else [finding.user_id]
        data = {"subject": finding.subject, "message": finding.message, "kind": finding.kind.value}
        key = f"{finding.kind} {finding.subject} {clock.to_ms(now)}"
        news = [News(user_id, _TYPES[finding.kind], key, data) for user_id in concerned]
        queue_notifications(database, c, news, now)

    verdict = Alerts(database).keep(kind, findings, now, notify, lasts)
    for finding in verdict.told:
        log.warning("%s of %s: %s", finding.kind, finding.subject, finding.message)
    for alert in verdict.resolved:
        log.info("%s of %s: recovered", alert.kind, alert.subject)
