"""How long the executions of schedules last, compared with the time between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autogpt_server.data.database import Database
from autogpt_server.model import clock
from autogpt_server.model.ids import least_id

#: Executions that one look takes in at most, the newest first.
_MOST = 20_000

# Those that run, and those that were made lately: each by an index.
_CANDIDATES = """
SELECT DISTINCT "scheduleId" FROM (
  SELECT "scheduleId" FROM "AgentGraphExecution" WHERE "status" = 'RUNNING' AND "scheduleId" IS NOT NULL
  UNION ALL
  SELECT "scheduleId" FROM (SELECT "scheduleId","startedAt","endedAt" FROM "AgentGraphExecution" WHERE "id" >= ?
                            ORDER BY "id" DESC LIMIT ?) lately
  WHERE "scheduleId" IS NOT NULL AND ({lasted}) > 60000) found
"""
_LASTED = {
    "sqlite": '"endedAt" - "startedAt"',
    "postgresql": 'EXTRACT(EPOCH FROM "endedAt" - "startedAt") * 1000',
}
_LATEST = """
SELECT e."scheduledAt", e."startedAt", e."endedAt", e."status", s."userId", s."name"
FROM "AgentGraphExecution" e JOIN "AgentExecutionSchedule" s ON s."id" = e."scheduleId"
WHERE e."scheduleId" = ? AND s."isEnabled" AND s."deletedAt" IS NULL ORDER BY e."scheduledAt" DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """The latest executions of a schedule, the newest first: how long each lasted, and after what time the next came.

    Both in seconds; what still runs counts up to now, and the newest one's gap is that of the one before.
    """

    schedule_id: str
    user_id: str
    name: str
    lasted: tuple[float, ...]
    gaps: tuple[float, ...]


def read_paces(db: Database, since: datetime, now: datetime, number: int) -> list[Pace]:
    """Read the paces of schedules of which something runs, or lasted for more than a minute since some time.

    Args:
        db: Where they are.
        since: Executions made before this and ended are not looked at.
        now: The present.
        number: Executions of each; schedules with fewer are left out.
    """
    text = db.sql(_CANDIDATES.format(lasted=_LASTED[db.provider]))
    with db.read() as c:
        ids = c.execute(text, (least_id(clock.to_ms(since)), _MOST)).scalars()
    paces: list[Pace] = []
    for schedule_id in ids:
        with db.read() as c:
            rows = c.execute(db.sql(_LATEST), (schedule_id, number + 1)).all()
        times = [tuple(db.from_column(value) for value in row[:3]) for row in rows]
        began = [(scheduled, started, ended or now) for scheduled, started, ended in times if scheduled and started]
        if len(began) < number + 1:
            continue
        gaps = [(newer[0] - older[0]).total_seconds() for newer, older in zip(began, began[1:], strict=False)]
        lasted = [(ended - started).total_seconds() for _, started, ended in began[:number]]
        paces.append(Pace(schedule_id, rows[0][4], rows[0][5], tuple(lasted), tuple(gaps[:1] + gaps[: number - 1])))
    return paces
