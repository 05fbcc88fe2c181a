"""Reports schedules whose executions last longer than the time between them."""

from __future__ import annotations

from datetime import timedelta

from autogpt_server.data.database import Database
from autogpt_server.data.schedule_pace import Pace, read_paces
from autogpt_server.model import clock
from autogpt_server.model.alert import AlertKind, Finding
from autogpt_server.monitoring.telling import tell

#: Executions in a row that must last too long.
_IN_A_ROW = 3
#: How far back ended executions are looked at.
_SPAN = timedelta(days=1)
NO_DRIFT = "No schedule falls behind."


def report_drift(database: Database) -> str:
    """Keep an alert for each schedule that falls behind, and return a report."""
    now = clock.now()
    slow = [pace for pace in read_paces(database, now - _SPAN, now, _IN_A_ROW) if _is_slow(pace)]
    findings = [
        Finding(AlertKind.SCHEDULE_DRIFT, pace.schedule_id, pace.user_id, _describe(pace), _severity(pace))
        for pace in slow
    ]
    tell(database, AlertKind.SCHEDULE_DRIFT, findings, now)
    if not slow:
        return NO_DRIFT
    lines = [f"* schedule {pace.schedule_id} ({pace.name}): {_describe(pace)}" for pace in slow]
    return "\n".join((f"{len(slow):,} schedules fall behind:", *lines))


def _is_slow(pace: Pace) -> bool:
    return all(lasted > gap for lasted, gap in zip(pace.lasted, pace.gaps, strict=True))


def _severity(pace: Pace) -> int:
    """One step for each doubling of the time that its executions last too long."""
    return int(min(pace.lasted) / max(pace.gaps[0], 1.0)).bit_length()


def _describe(pace: Pace) -> str:
    return (
        f"its last {len(pace.lasted)} executions lasted {min(pace.lasted):,.0f} s or more and one is due every "
        f"{pace.gaps[0]:,.0f} s; make it rarer, or choose the overlap policy skip"
    )
