"""Whose turn it is: which waiting executions start next.  Pure; what waits and what runs is read by data/claims.py.

- Users take turns: whoever has the fewest running is served next, so a long queue of one holds up no other.
- Of one user's executions the parts of others go first, because somebody waits for them; then higher priority goes
  before lower, then older before newer.
- The limits hold back whole lanes: in each the first one waits, and those behind it.  Parts are outside all limits:
  what they are a part of holds its place until they have ended, and both would wait for ever.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

#: Where executions wait that nothing sets apart, those of which a process died, and the parts of others.
#: Every other lane is the id of a graph that limits its executions.
ORDINARY, QUARANTINE, PARTS = "", "quarantine", "part"

#: Of a user's executions that wait, those with a higher priority start first.
MIN_PRIORITY, MAX_PRIORITY = -100, 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """An execution that waits."""

    id: str
    lane: str
    #: Executions of its lane that may run at the same time; 0 for no limit.
    lane_limit: int
    user_id: str
    priority: int

    @property
    def place(self) -> tuple[bool, int, str]:
        """Its place among those of its user; the smallest goes first."""
        return (self.lane != PARTS, -self.priority, self.id)


@dataclass(slots=True)
class _Line:
    """What waits in one lane for one user, as far as it was read."""

    waiting: deque[Waiting]
    is_whole: bool = False


@dataclass(slots=True)
class _User:
    lines: list[_Line] = field(default_factory=list[_Line])
    #: What runs for the user, and how much of that is no part.
    running: int = 0
    counted: int = 0


def lane_of(graph_id: str, graph_limit: int | None, depth: int) -> tuple[str, int]:
    """Tell the lane of a new execution, and the limit there.

    Args:
        graph_id: Of the graph.
        graph_limit: How many of its executions may run at the same time; None for no limit.
        depth: How many executions stand above this one.
    """
    if depth > 0:
        return PARTS, 0
    return (ORDINARY, 0) if graph_limit is None else (graph_id, graph_limit)


class Turns:
    """One look at what waits, from which the next ones are chosen.

    Args:
        heads: The first one of each line, that is of each lane and user.
        running: How many run, by lane and user.
        user_limit: How many executions of one user may run at the same time, parts not counted.
        read_line: Gives the first ones of a line by its head, the head among them, at least as many as are chosen.
    """

    def __init__(
        self,
        heads: Iterable[Waiting],
        running: Mapping[tuple[str, str], int],
        user_limit: int | None,
        read_line: Callable[[Waiting], Iterable[Waiting]],
    ) -> None:
        self._user_limit, self._read_line = user_limit, read_line
        self._users: dict[str, _User] = {}
        self._in_lane: Counter[str] = Counter()
        for head in heads:
            self._users.setdefault(head.user_id, _User()).lines.append(_Line(deque([head])))
        for (lane, user_id), count in running.items():
            self._in_lane[lane] += count
            if user_id in self._users:
                self._users[user_id].running += count
                self._users[user_id].counted += count * (lane != PARTS)

    def choose(self, limit: int) -> list[Waiting]:
        """Choose up to ``limit`` executions to start, in this order.  Call once."""
        chosen: list[Waiting] = []
        turns = [(user.running, min(line.waiting[0].id for line in user.lines), n) for n, user in self._users.items()]
        heapq.heapify(turns)
        while turns and len(chosen) < limit:
            _, _, name = heapq.heappop(turns)
            user = self._users[name]
            line = self._next_line(user)
            if line is None:
                # Whoever is held back now is held back for the rest of this look.
                continue
            one = line.waiting.popleft()
            chosen.append(one)
            self._start(user, one)
            if not line.waiting and not line.is_whole and len(chosen) < limit:
                line.waiting.extend(other for other in self._read_line(one) if other.id != one.id)
                line.is_whole = True
            heapq.heappush(turns, (user.running, one.id, name))
        return chosen

    def _next_line(self, user: _User) -> _Line | None:
        lines = [line for line in user.lines if line.waiting and self._may_start(user, line.waiting[0])]
        return min(lines, key=lambda line: line.waiting[0].place, default=None)

    def _may_start(self, user: _User, one: Waiting) -> bool:
        if one.lane == PARTS:
            return True
        if self._user_limit is not None and user.counted >= self._user_limit:
            return False
        return not one.lane_limit or self._in_lane[one.lane] < one.lane_limit

    def _start(self, user: _User, one: Waiting) -> None:
        user.running += 1
        user.counted += one.lane != PARTS
        self._in_lane[one.lane] += 1
