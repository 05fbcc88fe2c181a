"""What schedules execute now: the version of their graph that is meant, and its policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.model.jsonvalue import loads
from autogpt_server.model.policy import GraphPolicy
from autogpt_server.model.schedule import Schedule

_Wanted = tuple[str, int | None, str]


class Target(NamedTuple):
    """What a schedule executes now."""

    version: int
    policy: GraphPolicy


def find_targets(db: Database, c: Connection, schedules: Iterable[Schedule]) -> dict[str, Target]:
    """Tell what each schedule executes now, by its id; those whose graph is gone are left out."""
    wanted = {(s.graph_id, s.graph_version, s.user_id) for s in schedules}
    found = _find_each(db, c, wanted) if db.provider == "sqlite" else _find_many(db, c, wanted)
    return {s.id: target for s in schedules if (target := found.get((s.graph_id, s.graph_version, s.user_id)))}


def _find_each(db: Database, c: Connection, wanted: set[_Wanted]) -> dict[_Wanted, Target]:
    found: dict[_Wanted, Target] = {}
    for one in wanted:
        graph_id, version, user_id = one
        which = '"isActive" = ?' if version is None else '"version" = ?'
        text = f"""
SELECT "version","policy" FROM "AgentGraph" WHERE "id" = ? AND "userId" = ? AND "deletedAt" IS NULL AND {which}
"""
        row = c.execute(text, (graph_id, user_id, True if version is None else version)).first()
        if row is not None:
            found[one] = _target(row)
    return found


def _find_many(db: Database, c: Connection, wanted: set[_Wanted]) -> dict[_Wanted, Target]:
    text = """
SELECT x.g, x.v, x.u, a."version", a."policy" FROM json_to_recordset(?::json) AS x (g text, v int, u text)
JOIN "AgentGraph" a ON a."id" = x.g AND a."userId" = x.u AND a."deletedAt" IS NULL
AND (a."version" = x.v OR (x.v IS NULL AND a."isActive"))
"""
    rows = c.execute(db.sql(text), (db.to_recordset("gvu", wanted),))
    return {(row[0], row[1], row[2]): _target(row[3:]) for row in rows}


def _target(row: Row) -> Target:
    return Target(row[0], GraphPolicy() if row[1] == "{}" else GraphPolicy.model_validate(loads(row[1])))
