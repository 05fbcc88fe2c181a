"""Owns schedules of every kind while servers are broken: changes them from a thread, and writes down what it knows."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.faults import load
from tests.faults.load import Load
from tests.faults.schedule_checks import Known, Span, Times

#: Schedules that are there all the time; those with a policy for overlaps take longer than a slot.
_QUICK: tuple[dict[str, Any], ...] = (
    {"interval_seconds": 1},
    {"interval_seconds": 1, "misfire_policy": "all", "misfire_limit": 1000},
    {"interval_seconds": 2, "misfire_policy": "skip"},
    {"interval_seconds": 1, "max_runs": 5},
    {"cron": "* * * * *"},
)
_SLOW: tuple[dict[str, Any], ...] = (
    {"interval_seconds": 1, "overlap_policy": "skip"},
    {"interval_seconds": 1, "overlap_policy": "buffer_one", "misfire_policy": "all"},
    {"interval_seconds": 2, "overlap_policy": "cancel_running"},
)
#: Seconds that an execution of a slow one takes; between two changes; until a schedule comes that comes once.
_TAKES, _PAUSE, _ONCE = 1.5, (0.1, 0.8), (0.5, 4.0)
#: Schedules that are enabled at the same time, about.
_MANY = 16
#: Milliseconds after which a slot is decided about, once nothing is broken any more.
_LATENESS = 3_000
#: Seconds that pass between the slots of those that shall stay enabled and come no more.
_DAY = 86_400
#: Due before a moment, or still to come once.
_UNDECIDED = """
SELECT "id" FROM "AgentExecutionSchedule" WHERE "deletedAt" IS NULL AND "nextRunAt" IS NOT NULL
AND ("nextRunAt" <= ? OR "runAt" IS NOT NULL) LIMIT 1
"""


class Owner:
    """Makes schedules, and pauses, resumes, edits, deletes and makes them again for as long as it is open.

    Args:
        client: Of the server.
        chance: What it does next.
        problem: Told of what a server should not answer.
    """

    def __init__(self, client: Load, chance: random.Random, problem: Callable[[str], object]) -> None:
        self._load, self._chance, self._problem = client, chance, problem
        #: Of all that were made, by id; and how those that are there were made.
        self.known: dict[str, Known] = {}
        self._bodies: dict[str, tuple[str, dict[str, Any]]] = {}
        self._running: list[str] = []
        self._paused: list[str] = []
        quick, slow = client.store(load.waiting(0.01)), client.store(load.waiting(_TAKES))
        self._quick = quick
        for graph_id, bodies in ((quick, _QUICK), (slow, _SLOW)):
            for body in bodies:
                self._add(graph_id, body)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._change_on, name="owner")

    def __enter__(self) -> Owner:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def settle(self) -> None:
        """Wait until all that is due is decided about, then let nothing more come: some paused, some in a day.

        Nothing may be broken any more.
        """
        decided_until = 0

        def is_decided(c: Any) -> bool:
            nonlocal decided_until
            decided_until = _now() - _LATENESS
            moment = self._load.database.to_column(datetime.fromtimestamp(decided_until / 1000, UTC))
            return c.execute(self._load.database.sql(_UNDECIDED), (moment,)).first() is None

        self._load.until(is_decided, "schedules do not fire any more")
        for id_ in self._running:
            self.known[id_].spans[-1].decided_until = decided_until
        self._delete_unknown()
        for number, id_ in enumerate(list(self._running)):
            if self.known[id_].spans[-1].times.every is None:
                # It came.
                continue
            if number % 3 == 2:
                self._pause(id_)
            else:
                self._retime(id_, _DAY)

    def once(self, seconds: float) -> None:
        """Make a schedule that comes once, so many seconds from now."""
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        self._add(self._quick, {"run_at": at.isoformat()})

    def delete(self, id_: str) -> None:
        """Delete a schedule."""
        self._leave(id_, "DELETE", "")
        self.known[id_].is_deleted = True

    def _change_on(self) -> None:
        while not self._stopping.wait(self._chance.uniform(*_PAUSE)):
            try:
                self._change()
            except AssertionError as error:
                self._problem(f"a schedule could not be changed: {error}")
                return

    def _change(self) -> None:
        chosen = self._chance.choice(self._running) if self._running else None
        match self._chance.randrange(7):
            case 0 if chosen:
                self._pause(chosen)
            case 1 | 2 if self._paused:
                self._resume(self._chance.choice(self._paused))
            case 3 if chosen:
                self._retime(chosen, self._chance.randint(1, 3))
            case 4 if chosen:
                self._ask("PATCH", chosen, {"name": f"at {time.monotonic():g}"})
            case 5 if chosen:
                graph_id, body = self._bodies[chosen]
                self.delete(chosen)
                if "run_at" not in body:
                    self._add(graph_id, body)
            case 6 if chosen and len(self._running) > _MANY:
                self.delete(chosen)
            case 6:
                self.once(self._chance.uniform(*_ONCE))
            case _:
                pass

    def _add(self, graph_id: str, body: dict[str, Any]) -> None:
        asked = _now()
        answer = self._load.once("POST", f"/graphs/{graph_id}/schedules", body)
        if answer is None or answer.is_server_error:
            # Nobody knows whether it is there; in the end it is not.
            return
        if answer.status_code == 422 and "run_at" in body:
            # The time was over when it was read.
            return
        if answer.status_code != 201:
            self._problem(f"a schedule was answered {answer.status_code}: {answer.text[:200]}")
            return
        made = answer.json()
        self.known[made["id"]] = Known(made["id"], [Span(_times(made), asked, _now())])
        self._bodies[made["id"]] = (graph_id, body)
        self._running.append(made["id"])

    def _pause(self, id_: str) -> None:
        self._leave(id_, "POST", "/pause")
        self._paused.append(id_)

    def _leave(self, id_: str, method: str, path: str) -> None:
        span = self.known[id_].spans[-1]
        self._running.remove(id_)
        span.leaving = _now()
        self._ask(method, id_, path=path)
        span.left = _now()

    def _resume(self, id_: str) -> None:
        asked = _now()
        answer = self._ask("POST", id_, path="/resume")
        if answer.status_code == 409:
            # One that comes once, whose time lay in the pause, or that has run as often as it may.
            return
        self._paused.remove(id_)
        self._running.append(id_)
        self.known[id_].spans.append(Span(_times(answer.json()), asked, _now()))

    def _retime(self, id_: str, seconds: int) -> None:
        asked = _now()
        answer = self._ask("PATCH", id_, {"interval_seconds": seconds})
        if answer.status_code == 422:
            # One that has run as often as it may.
            return
        spans = self.known[id_].spans
        spans[-1].leaving, spans[-1].left = asked, _now()
        spans.append(Span(_times(answer.json()), asked, spans[-1].left))

    def _ask(self, method: str, id_: str, body: Any = None, path: str = "") -> httpx.Response:
        """Ask until it is done, or was already."""
        while True:
            answer = self._load.call_until_answered(method, f"/schedules/{id_}{path}", body)
            is_done = answer.is_success or (method == "DELETE" and answer.status_code == 404)
            is_over = (answer.status_code == 409 and path == "/resume") or (
                answer.status_code == 422 and "max_runs" in answer.text
            )
            if is_done or is_over:
                return answer
            # An edit of the same schedule that was asked for before may have been in between.
            assert answer.status_code == 409, f"{method} {path}: {answer.status_code} {answer.text}"

    def _delete_unknown(self) -> None:
        cursor = ""
        while True:
            page = self._load.call("GET", f"/schedules?limit=100{cursor}")
            for one in page["items"]:
                if one["id"] not in self.known:
                    self._ask("DELETE", one["id"])
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={page['next_cursor']}"


def _times(schedule: dict[str, Any]) -> Times:
    """When a schedule comes: intervals count from when it was made; each minute is one in UTC."""
    if schedule["run_at"] is not None:
        return Times(_ms(schedule["run_at"]))
    if schedule["interval_seconds"] is not None:
        return Times(_ms(schedule["created_at"]), schedule["interval_seconds"] * 1000)
    assert schedule["cron"] == "* * * * *"
    return Times(0, 60_000)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _now() -> int:
    return time.time_ns() // 1_000_000
