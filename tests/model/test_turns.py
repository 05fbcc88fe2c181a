"""Whose turn it is, against a naive model that looks at everything that waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from autogpt_server.model.turns import ORDINARY, PARTS, Turns, Waiting, lane_of


def line_of(waiting: Iterable[Waiting], lane: str, user: str) -> list[Waiting]:
    return sorted((w for w in waiting if (w.lane, w.user_id) == (lane, user)), key=lambda w: w.place)


def choose(
    waiting: list[Waiting], limit: int, running: dict[tuple[str, str], int] | None = None, user_limit: int | None = None
) -> list[Waiting]:
    heads = [line_of(waiting, *line)[0] for line in {(w.lane, w.user_id) for w in waiting}]
    turns = Turns(heads, running or {}, user_limit, lambda head: line_of(waiting, head.lane, head.user_id)[:limit])
    return turns.choose(limit)


def some(user: str, ids: str, lane: str = ORDINARY, lane_limit: int = 0, priority: int = 0) -> list[Waiting]:
    return [Waiting(i, lane, lane_limit, user, priority) for i in ids]


def ids(chosen: list[Waiting]) -> str:
    return "".join(one.id for one in chosen)


def test_users_take_turns_and_who_runs_least_is_served_first():
    waiting = [*some("ann", "abcdef"), *some("bob", "xyz")]
    assert ids(choose(waiting, 5)) == "axbyc"
    assert ids(choose(waiting, 5, {(ORDINARY, "ann"): 2})) == "xyazb"
    assert ids(choose(waiting, 99)) == "axbyczdef"


def test_within_a_user_parts_go_first_then_priority_then_age():
    waiting = [
        *some("ann", "ab"),
        *some("ann", "c", priority=1),
        *some("ann", "d", lane="graph", lane_limit=5, priority=2),
        *some("ann", "e", lane=PARTS, priority=-5),
    ]
    assert ids(choose(waiting, 9)) == "edcab"


def test_limits_hold_lanes_and_users_back_but_never_parts():
    limited = some("ann", "abc", lane="graph", lane_limit=2)
    assert ids(choose(limited, 9)) == "ab"
    assert ids(choose(limited, 9, {("graph", "somebody"): 1})) == "a"
    waiting = [*limited, *some("ann", "xyz"), *some("ann", "pq", lane=PARTS)]
    assert ids(choose(waiting, 9, {(ORDINARY, "ann"): 1}, user_limit=2)) == "pqa"
    assert ids(choose(waiting, 9, {(PARTS, "ann"): 7}, user_limit=2)) == "pqab"
    assert lane_of("graph", 2, 0) == ("graph", 2)
    assert lane_of("graph", None, 0) == (ORDINARY, 0)
    assert lane_of("graph", 2, 1) == (PARTS, 0)


def naive(
    waiting: list[Waiting], limit: int, running: dict[tuple[str, str], int], user_limit: int | None
) -> list[Waiting]:
    """Look at all that waits before every single choice."""
    left, running = list(waiting), Counter(running)
    held_back: set[str] = set()
    latest: dict[str, str] = {w.user_id: min(x.id for x in heads(left) if x.user_id == w.user_id) for w in left}
    chosen: list[Waiting] = []
    while len(chosen) < limit and (users := {w.user_id for w in left} - held_back):
        user = min(users, key=lambda u: (sum(n for (_, of), n in running.items() if of == u), latest[u], u))
        may = [w for w in heads(left) if w.user_id == user and may_start(w, running, user_limit)]
        if not may:
            held_back.add(user)
            continue
        one = min(may, key=lambda w: w.place)
        left.remove(one)
        chosen.append(one)
        running[one.lane, user] += 1
        latest[user] = one.id
    return chosen


def heads(left: list[Waiting]) -> list[Waiting]:
    return [line_of(left, *line)[0] for line in {(w.lane, w.user_id) for w in left}]


def may_start(one: Waiting, running: Counter[tuple[str, str]], user_limit: int | None) -> bool:
    if one.lane == PARTS:
        return True
    of_user = sum(n for (lane, user), n in running.items() if user == one.user_id and lane != PARTS)
    in_lane = sum(n for (lane, _), n in running.items() if lane == one.lane)
    return (user_limit is None or of_user < user_limit) and (not one.lane_limit or in_lane < one.lane_limit)


@settings(max_examples=300, deadline=None, database=None)
@given(st.integers(0, 2**32))
def test_the_choice_is_that_of_somebody_who_looks_at_everything(seed: int):
    random = Random(seed)
    lanes = [ORDINARY, PARTS, "g1", "g2"]
    waiting = [
        Waiting(f"{i:03}", lane, random.randint(1, 4) if lane.startswith("g") else 0, user, random.choice([0, 0, 1]))
        for i in random.sample(range(1000), random.randint(0, 40))
        for lane, user in [(random.choice(lanes), random.choice("abc"))]
    ]
    running = {(random.choice(lanes), random.choice("abcd")): random.randint(0, 4) for _ in range(random.randint(0, 5))}
    limit, user_limit = random.randint(1, 20), random.choice([None, 1, 3])
    chosen = choose(waiting, limit, running, user_limit)
    assert chosen == naive(waiting, limit, running, user_limit)
