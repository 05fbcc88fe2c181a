"""Alerts: what was found wrong, kept open while it is found again, so that people are told once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.data.pages import Page, cursor_id, page_by_id
from autogpt_server.model.alert import Alert, AlertKind, Finding
from autogpt_server.model.ids import new_id

_COLUMNS = '"id","kind","subject","userId","message","severity","openedAt","lastSeenAt","toldAt","resolvedAt"'
_OPEN = f'SELECT {_COLUMNS} FROM "Alert" WHERE "kind" = ? AND "resolvedAt" IS NULL AND "openKey" IS NOT NULL'
_INSERT = """
INSERT INTO "Alert" ("id","kind","subject","userId","message","severity","openKey","openedAt","lastSeenAt","toldAt")
VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT ("openKey") DO NOTHING
"""
_SEEN = 'UPDATE "Alert" SET "message" = ?, "severity" = ?, "lastSeenAt" = ?, "toldAt" = ? WHERE "id" = ?'
_RESOLVE = 'UPDATE "Alert" SET "resolvedAt" = ?, "openKey" = NULL WHERE "id" = ?'

Tell = Callable[[Connection, Finding], None]
"""Called inside the transaction that keeps a finding, with each that people are to be told of."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look changed."""

    #: Findings that are new or worse than what was told before.
    told: list[Finding]
    #: Alerts whose reason has gone.
    resolved: list[Alert]


class Alerts:
    """The Alert table.  Blocking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def keep(
        self,
        kind: AlertKind,
        findings: Sequence[Finding],
        now: datetime,
        tell: Tell | None = None,
        lasts: Callable[[Connection, str], bool] = lambda c, subject: False,
    ) -> Verdict:
        """Take in everything of a kind that a look has found; what it did not find any more is resolved.

        Safe to repeat, also by several processes at once: what is told is told by one of them.

        Args:
            kind: Of the findings.
            findings: What was found.
            now: The time.
            tell: Called with what people are to be told of.
            lasts: Of a subject that was not found: whether its reason is there all the same.
        """
        at, told = self._db.to_column(now), list[Finding]()
        with self._db.write() as c:
            lock = " FOR UPDATE" if self._db.provider == "postgresql" else ""
            rows = c.execute(self._db.sql(_OPEN + lock), (kind.value,)).all()
            known = {alert.subject: alert for alert in map(self._alert, rows)}
            for finding in findings:
                if self._see(c, known.pop(finding.subject, None), finding, at):
                    told.append(finding)
                    if tell is not None:
                        tell(c, finding)
            resolved = [alert for alert in known.values() if not lasts(c, alert.subject)]
            for alert in resolved:
                c.execute(self._db.sql(_RESOLVE), (at, alert.id))
        return Verdict(told, resolved)

    def list(
        self, user_id: str, *, with_servers: bool, only_open: bool, limit: int, cursor: str | None = None
    ) -> Page[Alert]:
        """Read a page of what concerns a user, the newest first.

        Args:
            user_id: Whom it concerns.
            with_servers: Also what concerns whoever runs the server.
            only_open: Leave out what is resolved.
            limit: Items of the page.
            cursor: Of the page before.
        """
        conditions = ['("userId" = ? OR "userId" IS NULL)' if with_servers else '"userId" = ?']
        values: list[Any] = [user_id]
        if only_open:
            conditions.append('"resolvedAt" IS NULL')
        if cursor is not None:
            conditions.append('"id" < ?')
            values.append(cursor_id(cursor))
        text = f'SELECT {_COLUMNS} FROM "Alert" WHERE {" AND ".join(conditions)} ORDER BY "id" DESC LIMIT ?'
        with self._db.read() as c:
            rows = c.execute(self._db.sql(text), (*values, limit + 1)).all()
        return page_by_id(rows, limit, self._alert)

    def _see(self, c: Connection, alert: Alert | None, finding: Finding, at: Any) -> bool:
        """Write that something was found; tells whether people are to be told."""
        if alert is not None:
            is_worse = finding.severity > alert.severity
            # What was told as bad is not news again when it falls a little and rises to where it was.
            severity = max(finding.severity, alert.severity)
            told_at = at if is_worse else self._db.to_column(alert.told_at)
            c.execute(self._db.sql(_SEEN), (finding.message, severity, at, told_at, alert.id))
            return is_worse
        key = f"{finding.kind}:{finding.subject}"
        values = (
            new_id(), finding.kind.value, finding.subject, finding.user_id, finding.message, finding.severity, key
        )  # fmt: skip
        return c.execute(self._db.sql(_INSERT), (*values, at, at, at)).rowcount == 1

    def _alert(self, row: Row) -> Alert:
        moment = self._db.from_column
        opened, seen, told = moment(row[6]), moment(row[7]), moment(row[8])
        assert opened is not None and seen is not None and told is not None
        return Alert(row[0], AlertKind(row[1]), row[2], row[3], row[4], row[5], opened, seen, told, moment(row[9]))
