"""The thread that fires schedules of graphs when they are due.

The table is the timer: this keeps the next minutes of it in memory, and reads again what it is told has changed.  It
looks at the clock at least every few seconds, so that a jump of it, or a sleep of the machine, is noticed.  Whatever
happens to this thread or to others like it, each slot is fired once: see ``data/firing.py``.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from autogpt_server.data.database import Database
from autogpt_server.data.firing import MANY_SLOTS, MAX_BATCH, Fired, Firing
from autogpt_server.data.firing_plans import Plan
from autogpt_server.data.graph_versions import load_version
from autogpt_server.data.job_tables import JobRow
from autogpt_server.data.schedules import Schedules
from autogpt_server.errors import InvalidError, Unavailable
from autogpt_server.events.nudge import Nudger, Topic
from autogpt_server.model import clock
from autogpt_server.model.schedule import Schedule, SlotOutcome
from autogpt_server.scheduler.adopted import AdoptedTriggers
from autogpt_server.scheduler.job_rows import job_row
from autogpt_server.scheduler.planning import plan
from autogpt_server.scheduler.put_back import PutBack
from autogpt_server.scheduler.schedule_checks import check_execution
from autogpt_server.scheduler.timetable import Ahead, due_at, timetable_of
from autogpt_server.service.pulse import Part, Pulse

log = logging.getLogger(__name__)

#: How far ahead schedules are kept in memory, and how often more are read.
_AHEAD = timedelta(minutes=5)
_READ_SECONDS = 60.0
#: Seconds between two looks at the clock at most: other schedulers may have died, the clock may have jumped.
_LONGEST_WAIT = 5.0
#: Schedules read at once.
_PAGE = 5000
#: Seconds before it is due at which a schedule is prepared.
_PREPARED_SECONDS = 5.0
#: Seconds of firing after which what was fired is moved on, and what has changed is read, whatever else is due.
_FIRING_SECONDS = 1.0
#: Seconds for which executors are not told of what was fired while more is due: they would take the processor from it.
_QUIET_SECONDS = 0.15
#: Seconds until a schedule is tried again that somebody else is firing, or that cannot be read.
_AGAIN_SECONDS = 1.0
#: Seconds after a failure of the database, doubled up to the longest wait.
_FIRST_PAUSE = 0.1


@dataclass(slots=True)
class _Known:
    """A schedule in memory."""

    schedule: Schedule
    #: When it is looked at next, in seconds since 1970.
    at: float
    #: Worked out before it is due: the slot after the next one takes most of the time.
    timetable: Ahead | None = None


class Timers:
    """Fires schedules until it is stopped.

    Args:
        database: Where they are.
        nudger: Tells executors that something was queued.
        grace: Slots that are later than this were missed.
    """

    def __init__(self, database: Database, nudger: Nudger, grace: timedelta) -> None:
        self._firing, self._schedules = Firing(database), Schedules(database, lambda ids: None)
        self._db, self._nudger, self._grace = database, nudger, grace
        self._triggers, self._put_back = AdoptedTriggers(database), PutBack(database)
        self._known: dict[str, _Known] = {}
        self._heap: list[tuple[float, str]] = []
        self._wake = threading.Condition()
        self._changed: set[str] = set()
        self._reads_all = True
        self._is_stopping = False
        #: Fired, and not yet moved on.
        self._fired: list[Plan] = []
        #: Until when what is due is in memory; in seconds since 1970.
        self._horizon = 0.0
        self._next_read = 0.0
        #: When it has looked at the clock last, by a clock that nobody sets.
        self.last_turn: float | None = None
        #: What keeps it from firing; None where nothing does.
        self.trouble: str | None = None
        #: Since when executors wait to be told of what was fired.
        self._untold_since: float | None = None
        self._turning: Part | None = None
        self._longest_wait = _LONGEST_WAIT
        self._thread = threading.Thread(target=self._work, name="timers", daemon=True)

    def start(self, pulse: Pulse | None = None) -> None:
        """Start the thread, as a part of the pulse of its process."""
        if pulse is not None:
            self._turning, self._longest_wait = pulse.part(), min(_LONGEST_WAIT, pulse.pause)
        self._thread.start()

    def stop(self, timeout: float = 5) -> None:
        """End the thread; what it has begun to fire it ends."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def hear(self, ids: Iterable[str]) -> None:
        """Read some schedules again, or all without ids.  For any thread; never waits."""
        ids = list(ids)
        with self._wake:
            self._changed.update(ids)
            self._reads_all |= not ids
            self._wake.notify()

    def _work(self) -> None:
        pause = _FIRST_PAUSE
        while not self._is_stopping:
            try:
                self._turn()
                pause = _FIRST_PAUSE
            except Unavailable as error:
                log.warning("cannot fire schedules, trying again: %s", error)
                self.trouble = str(error)
                pause = self._rest(pause)
            except Exception as error:
                # The thread must outlive everything: without it no schedule fires.
                log.exception("schedules could not be fired")
                self.trouble = f"{type(error).__name__}: {error}"
                pause = self._rest(pause)

    def _get_on(self) -> None:
        """Prove that the thread lives."""
        self.last_turn = time.monotonic()
        if self._turning is not None:
            self._turning.turn()

    def _for_database(self) -> contextlib.AbstractContextManager[None]:
        """Count as turning while the database is waited for: a new process would wait as well."""
        return contextlib.nullcontext() if self._turning is None else self._turning.excused()

    def _rest(self, seconds: float) -> float:
        with self._for_database(), self._wake:
            # Everything may have changed meanwhile.
            self._reads_all = True
            self._wake.wait_for(lambda: self._is_stopping, seconds)
        return min(seconds * 2, _LONGEST_WAIT)

    def _turn(self) -> None:
        """Read what changed, fire what is due, move on what was fired, and wait for the next."""
        self._get_on()
        with self._for_database():
            self._read()
        enough = time.monotonic() + _FIRING_SECONDS
        try:
            while not self._is_stopping and (due := self._due()):
                self._fire(due)
                if time.monotonic() > enough:
                    break
        finally:
            self._tell_executors()
        with self._for_database():
            self._advance()
        self.trouble = None
        self._prepare()
        with self._wake:
            if not (self._changed or self._reads_all or self._is_stopping):
                self._wake.wait(self._seconds_to_wait())

    def _prepare(self) -> None:
        """Work out beforehand what can be for those that are due soon, as far as there is time."""
        soon = _now() + _PREPARED_SECONDS
        for at, id_ in sorted(entry for entry in self._heap if entry[0] < soon):
            known = self._known.get(id_)
            if known is None or known.at != at or known.timetable is not None or known.schedule.is_adopted:
                continue
            slot = known.schedule.next_run_at
            # What cannot be read is told when it is due.
            with contextlib.suppress(InvalidError):
                timetable = Ahead(timetable_of(known.schedule))
                if slot is not None:
                    timetable.look_after(slot)
                known.timetable = timetable
            if self._heap[0][0] <= _now():
                return

    def _seconds_to_wait(self) -> float:
        until = min(self._heap[0][0] if self._heap else float("inf"), self._next_read)
        return max(0.0, min(until - _now(), self._longest_wait))

    def _read(self) -> None:
        with self._wake:
            changed, self._changed = self._changed, set()
            reads_all, self._reads_all = self._reads_all, False
        now = _now()
        is_put_back = self._next_read - now > _READ_SECONDS
        if reads_all or now >= self._next_read or is_put_back:
            try:
                if is_put_back:
                    self._put_back.run(self._get_on)
                # What is known reaches too far then.
                self._read_ahead(now)
            except BaseException:
                with self._wake:
                    self._reads_all = True
                raise
        elif changed:
            try:
                found = {one.id: one for one in self._schedules.read(sorted(changed))}
            except BaseException:
                self.hear(changed)
                raise
            for id_ in changed:
                self._remember(id_, found.get(id_))

    def _read_ahead(self, now: float) -> None:
        """Read everything that is due within the next minutes, in parts."""
        horizon = clock.from_ms(int(now * 1000)) + _AHEAD
        found: dict[str, Schedule] = {}
        after: tuple[datetime, str] | None = None
        while True:
            page = self._schedules.due(horizon, after=after, limit=_PAGE)
            found |= {one.id: one for one in page}
            last = page[-1] if page else None
            if last is None or last.next_run_at is None or len(page) < _PAGE:
                break
            after = (last.next_run_at, last.id)
            self._get_on()
        self._known, self._heap = {}, []
        self._horizon = horizon.timestamp()
        for id_, schedule in found.items():
            self._remember(id_, schedule)
        self._next_read = now + _READ_SECONDS

    def _remember(self, id_: str, schedule: Schedule | None) -> None:
        if schedule is None or schedule.next_run_at is None or schedule.next_run_at.timestamp() >= self._horizon:
            self._known.pop(id_, None)
            return
        self._look_at(schedule, due_at(schedule, schedule.next_run_at).timestamp())

    def _look_at(self, schedule: Schedule, at: float) -> None:
        self._known[schedule.id] = _Known(schedule, at)
        heapq.heappush(self._heap, (at, schedule.id))

    def _due(self) -> list[_Known]:
        """Take what is due from memory, at most a batch of it."""
        now = _now()
        due: list[_Known] = []
        while self._heap and self._heap[0][0] <= now and len(due) < MAX_BATCH:
            at, id_ = heapq.heappop(self._heap)
            known = self._known.get(id_)
            # Another entry of the heap has taken its place.
            if known is not None and known.at == at:
                del self._known[id_]
                due.append(known)
        return due

    def _fire(self, due: list[_Known]) -> None:
        """Fire a batch, in as many transactions as its slots take."""
        plans, slots = list[Plan](), 0
        for one in self._plan(due):
            plans.append(one)
            slots += len(one.slots)
            if slots >= MANY_SLOTS:
                self._fire_plans(plans)
                plans, slots = [], 0
        self._fire_plans(plans)

    def _fire_plans(self, plans: list[Plan]) -> None:
        while plans:
            with self._for_database():
                fired = self._firing.fire(plans)
            self._tell(fired)
            self._fired += fired.done
            for one in fired.done:
                # They stand in the ledger now; after years of them there are many.
                one.slots = []
                # As it will be once it is moved on.
                self._remember(one.schedule.id, one.schedule.model_copy(update={"next_run_at": one.next_run_at}))
            with self._for_database():
                self._read_later(fired.changed)
            plans = [self._checked(one, version) for one, version in fired.unchecked]
            plans += [again for one, until in fired.begun if (again := self._planned_after(one, until)) is not None]

    def _plan(self, due: list[_Known]) -> Iterator[Plan]:
        now = clock.now()
        with self._for_database():
            triggers = self._triggers.of_many([known.schedule for known in due])
        for known in due:
            # To decide about years of missed slots takes a while.
            self._get_on()
            schedule = known.schedule
            trigger = triggers.get(schedule.id)
            if schedule.is_adopted and trigger is None:
                log.error("schedule %s is not fired: its job row is gone, or cannot be restored", schedule.id)
                self._look_at(schedule, _now() + _READ_SECONDS)
                continue
            try:
                found = plan(schedule, known.timetable or timetable_of(schedule, trigger), now, self._grace)
            except InvalidError as error:
                log.error("schedule %s is not fired: %s", schedule.id, error)
                self._look_at(schedule, _now() + _READ_SECONDS)
                continue
            if found is None:
                self._remember(schedule.id, schedule)
            else:
                yield found

    def _planned_after(self, one: Plan, until: datetime) -> Plan | None:
        """Plan what comes after the slots that are in the ledger already."""
        schedule = one.schedule
        with self._for_database():
            trigger = self._triggers.of_many([schedule]).get(schedule.id)
        if schedule.is_adopted and trigger is None:
            # Its job row went just now; the next reading of everything tells.
            return None
        return plan(schedule, timetable_of(schedule, trigger), clock.now(), self._grace, until)

    def _checked(self, one: Plan, version: int) -> Plan:
        """Check the inputs of a plan against the version that it would execute; nothing fires where they do not fit."""
        with self._for_database():
            graph = load_version(self._db, one.schedule.graph_id, version)
        try:
            check_execution(graph, one.schedule.inputs, one.schedule.credentials)
        except InvalidError as error:
            reason = f"its inputs do not fit version {version} of the graph: " + "; ".join(map(str, error.problems))
            failed = {"outcome": SlotOutcome.FAILED, "reason": reason[:1000], "execution_id": None}
            one.slots = [slot.model_copy(update=failed) if slot.execution_id else slot for slot in one.slots]
            one.checked_version = None
        else:
            one.checked_version = version
        return one

    def _tell(self, fired: Fired) -> None:
        if fired.executions:
            log.info("%d slots fired", len(fired.executions))
            if self._untold_since is None:
                self._untold_since = time.monotonic()
            elif time.monotonic() - self._untold_since > _QUIET_SECONDS:
                self._tell_executors()
        if fired.stopped:
            self._nudger.send(Topic.CONTROL, fired.stopped)
            self._nudger.send(Topic.CHANGES, fired.stopped)

    def _tell_executors(self) -> None:
        if self._untold_since is not None:
            self._untold_since = None
            self._nudger.send(Topic.QUEUE)

    def _read_later(self, ids: list[str]) -> None:
        """Look again in a moment at what another scheduler is firing, or what somebody has just edited."""
        if ids:
            for one in self._schedules.read(ids):
                if one.next_run_at is not None:
                    at = due_at(one, one.next_run_at).timestamp()
                    self._look_at(one, max(at, _now() + _AGAIN_SECONDS))

    def _advance(self) -> None:
        """Write when what was fired fires next, with the rows that others read."""
        while self._fired:
            batch = self._fired[:MAX_BATCH]
            self._firing.advance(batch, self._jobs(batch))
            del self._fired[: len(batch)]
            self._get_on()

    def _jobs(self, plans: list[Plan]) -> dict[str, JobRow | None]:
        moved = [one.schedule.model_copy(update={"next_run_at": one.next_run_at}) for one in plans]
        triggers = self._triggers.of_many(moved)
        return {one.id: job_row(one, triggers.get(one.id)) for one in moved}


def _now() -> float:
    """Seconds since 1970, by the clock that a test may move."""
    return clock.now().timestamp()
