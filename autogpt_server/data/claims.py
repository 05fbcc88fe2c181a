"""Reads what waits and what runs, for choosing what is claimed next: a few seeks in the index of the queue, however
many executions wait or are held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from autogpt_server.data.connection import Connection, Row
from autogpt_server.data.database import Database
from autogpt_server.model.turns import PARTS, QUARANTINE, Turns, Waiting, lane_of

#: Lines, each of a lane and a user, that one look takes in.  Where there are more, the looks take turns.
_LINES = 64
#: Looks after one another while all that they see is held back.
_LOOKS = 16
#: Executions of a queue that is read as a whole, in one step.
_SHORT_QUEUE = 64
#: Suspects of one user that a look takes in.
_MOST_SUSPECTS = 100

_Place = tuple[str, str]
#: Before every line.
_START: _Place = ("", "")

_COLUMNS = '"id","lane","laneLimit","userId","priority"'
#: Seeks the first execution of the line after a lane and a user.  In two steps: SQLite searches no index by a
#: comparison of two columns at once when they come from another table.
_NEXT = """COALESCE(
  (SELECT "id" FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND "lane" = {lane} AND "userId" > {user}
   ORDER BY "userId","priority" DESC,"id" LIMIT 1),
  (SELECT "id" FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND "lane" > {lane}
   ORDER BY "lane","userId","priority" DESC,"id" LIMIT 1))"""
_HEADS = f"""
WITH RECURSIVE heads ("id","lane","laneLimit","userId","priority") AS (
  SELECT {_COLUMNS} FROM "AgentGraphExecution" WHERE "id" = {_NEXT.format(lane="?", user="?")}
  UNION ALL
  SELECT e."id", e."lane", e."laneLimit", e."userId", e."priority" FROM heads h
  JOIN "AgentGraphExecution" e ON e."id" = {_NEXT.format(lane='h."lane"', user='h."userId"')})
SELECT {_COLUMNS} FROM heads LIMIT ?"""
_LINE = f"""
SELECT {_COLUMNS} FROM "AgentGraphExecution" WHERE "status" = 'QUEUED' AND "lane" = ? AND "userId" = ?
ORDER BY "priority" DESC, "id" LIMIT ?"""
_QUEUE = f"""
SELECT {_COLUMNS} FROM "AgentGraphExecution" WHERE "status" = 'QUEUED'
ORDER BY "lane","userId","priority" DESC,"id" LIMIT {_SHORT_QUEUE + 1}"""
_RUNNING = """
SELECT "lane","userId",COUNT(*) FROM "AgentGraphExecution" WHERE "status" = 'RUNNING' GROUP BY "lane","userId\""""
_SUSPECTS_RUNNING = f"""
SELECT "agentGraphId","laneLimit","depth","userId" FROM "AgentGraphExecution"
WHERE "status" = 'RUNNING' AND "lane" = '{QUARANTINE}'"""
_SUSPECTS = f"""
SELECT {_COLUMNS},"agentGraphId","depth" FROM "AgentGraphExecution"
WHERE "status" = 'QUEUED' AND "lane" = '{QUARANTINE}' AND "userId" = ? ORDER BY "priority" DESC, "id" LIMIT ?"""


class Looks:
    """The looks of one claimer, which remembers where the last one ended.

    Args:
        database: Tells how its statements are written.
        user_limit: How many executions of one user may run at the same time; None for no limit.
    """

    def __init__(self, database: Database, user_limit: int | None) -> None:
        self._db, self._user_limit = database, user_limit
        self._after = _START

    def look(self, c: Connection, limit: int, without: Collection[str] = ()) -> list[Waiting]:
        """Choose up to ``limit`` executions of what waits now, in the order of their turns.

        Suspects are left out, and what waits for users ``without``.
        """
        queue = [_waiting(row) for row in c.execute(_QUEUE).all()]
        if len(queue) <= _SHORT_QUEUE:
            lines = _by_line(one for one in queue if one.lane != QUARANTINE and one.user_id not in without)
            heads = [line[0] for line in lines.values()]
            return self._choose(c, heads, limit, lambda head: lines[head.lane, head.user_id])
        began = self._after
        for _ in range(_LOOKS):
            heads = self._heads(c, self._after)
            is_end = len(heads) < _LINES
            self._after = _START if is_end else (heads[-1].lane, heads[-1].user_id)
            heads = [head for head in heads if head.lane != QUARANTINE and head.user_id not in without]
            if chosen := self._choose(c, heads, limit, lambda head: self._line(c, head, limit)):
                return chosen
            if is_end and began == _START:
                break
            if is_end:
                began = _START
        return []

    def look_for_suspects(self, c: Connection, limit: int) -> list[Waiting]:
        """Choose up to ``limit`` of the executions that must run alone, by the limits of the lanes they came from."""
        users = (head.user_id for head in self._heads(c, (QUARANTINE, "")) if head.lane == QUARANTINE)
        lines = _by_line(suspect for user_id in users for suspect in self._suspects(c, user_id))
        heads = [line[0] for line in lines.values()]
        return self._choose(c, heads, limit, lambda head: lines[head.lane, head.user_id])

    def is_limited(self, one: Waiting) -> bool:
        """Tell whether an execution may start only because others of its lane or user do not run."""
        return one.lane_limit > 0 or (self._user_limit is not None and one.lane != PARTS)

    def has_limit(self, lane_limit: int) -> bool:
        """Tell whether an execution of a lane with this limit may hold back others."""
        return lane_limit > 0 or self._user_limit is not None

    def _choose(
        self, c: Connection, heads: list[Waiting], limit: int, read_line: Callable[[Waiting], list[Waiting]]
    ) -> list[Waiting]:
        if not heads:
            return []
        counts = any(self.is_limited(head) for head in heads) or len({head.user_id for head in heads}) > 1
        running = self._running(c) if counts else Counter[_Place]()
        return Turns(heads, running, self._user_limit, read_line).choose(limit)

    def _heads(self, c: Connection, after: _Place) -> list[Waiting]:
        rows = c.execute(self._db.sql(_HEADS), (after[0], after[1], after[0], _LINES)).all()
        return [_waiting(row) for row in rows]

    def _line(self, c: Connection, head: Waiting, limit: int) -> list[Waiting]:
        rows = c.execute(self._db.sql(_LINE), (head.lane, head.user_id, limit)).all()
        return [_waiting(row) for row in rows]

    def _suspects(self, c: Connection, user_id: str) -> list[Waiting]:
        rows = c.execute(self._db.sql(_SUSPECTS), (user_id, _MOST_SUSPECTS)).all()
        return [Waiting(r[0], *lane_of(r[5], r[2] or None, r[6]), r[3], r[4]) for r in rows]

    def _running(self, c: Connection) -> Counter[_Place]:
        """Count what runs by lane and user; what runs in quarantine counts where it came from."""
        running: Counter[_Place] = Counter()
        rows = c.execute(_RUNNING).all()
        for lane, user_id, count in rows:
            if lane != QUARANTINE:
                running[lane, user_id] += count
        if len(running) == len(rows):
            return running
        for graph_id, lane_limit, depth, user_id in c.execute(_SUSPECTS_RUNNING).all():
            running[lane_of(graph_id, lane_limit or None, depth)[0], user_id] += 1
        return running


def _by_line(waiting: Iterable[Waiting]) -> dict[_Place, list[Waiting]]:
    lines: dict[_Place, list[Waiting]] = {}
    for one in waiting:
        lines.setdefault((one.lane, one.user_id), []).append(one)
    return lines


def _waiting(row: Row) -> Waiting:
    return Waiting(row[0], row[1], row[2], row[3], row[4])
