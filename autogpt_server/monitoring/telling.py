"""Keeps alerts, and tells of what is new or worse."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from autogpt_server.data.alerts import Alerts
from autogpt_server.model.alert import AlertKind, Finding

log = logging.getLogger(__name__)


def tell(alerts: Alerts, kind: AlertKind, findings: Sequence[Finding], now: datetime) -> None:
    """Keep everything that a look has found of a kind, and log what is new or worse, and what has recovered."""
    verdict = alerts.keep(kind, findings, now)
    for finding in verdict.told:
        log.warning("%s of %s: %s", finding.kind, finding.subject, finding.message)
    for alert in verdict.resolved:
        log.info("%s of %s: recovered", alert.kind, alert.subject)
