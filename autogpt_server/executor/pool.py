"""Keeps the executor processes of this machine running, and gives the work of dead ones back.

Death is seen in two ways: a process of our own ends, or a lease anywhere stops beating.  Unchanged beats are
timed with our own monotonic clock, so a jump of the wall clock expires nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from autogpt_server.data.database import Database
from autogpt_server.data.leases import Holder, Lease, Leases, Suspect, machine_name
from autogpt_server.data.queue import ExecutionQueue
from autogpt_server.errors import Unavailable
from autogpt_server.events.nudge import Topic, send_nudge
from autogpt_server.executor.executor_process import ExecutorProcess
from autogpt_server.executor.exit_reasons import exit_reason
from autogpt_server.executor.leftovers import clear_away, clear_away_all, kill_tree
from autogpt_server.executor.running_nodes import read_marks
from autogpt_server.executor.signs_of_life import marks_path
from autogpt_server.executor.usage import excess, is_crowded
from autogpt_server.service.child import ProcessEnded
from autogpt_server.service.crash_points import crash_point
from autogpt_server.service.process import wait_any
from autogpt_server.service.pulse import Part
from autogpt_server.service.restarts import RestartDelay
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import DEATHS

log = logging.getLogger(__name__)

#: Seconds between two looks at leases and suspects.
_LOOK_SECONDS = 1.0
#: Looks in a row that find an executor full of its blocks' processes, before it is replaced: they may be about to end.
_CROWDED_LOOKS = 2
#: Seconds in which a transaction begins when nobody keeps the database locked.
_PROMPT_SECONDS = 1.0


@dataclass
class _Place:
    """One place of the pool and the process that fills it now."""

    quarantine: bool = False
    process: ExecutorProcess | None = None
    started_at: float = 0.0
    start_after: float = 0.0
    delay: RestartDelay = field(default_factory=RestartDelay)
    leaseless_since: float | None = None
    #: When its process last touched its file of marks, and since when we know that.
    life: tuple[int, float] | None = None
    #: Looks in a row at which other blocks could start no process there, because of those that live.
    crowded_looks: int = 0
    #: Why we killed its process, if we did.
    killed_because: str | None = None

    def kill(self, reason: str) -> None:
        """End its process at once, and remember why: its exit code alone would tell of any killer."""
        assert self.process is not None
        if self.killed_because is None:
            self.killed_because = reason
            log.warning("%s %d is killed: %s", self.process.name, self.process.child.pid, reason)
        self.process.child.send_signal(9)


@dataclass
class _Watched:
    """A lease as an observer saw it last."""

    beat: int
    changed_at: float = field(default_factory=time.monotonic)
    #: When the database was first seen to take writes, after its time was over.
    writable_since: float | None = None


class ExecutorPool:
    """Starts, watches and replaces executor processes.  One thread uses it.

    Args:
        settings: How many processes, and how long a lease holds without a beat.
        database: For leases and rescues.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._db = settings, database
        self._leases = Leases(database)
        self._queue = ExecutionQueue(database, settings.max_concurrent_per_user)
        self._places = [_Place() for _ in range(settings.executor_processes)]
        self._quarantine = _Place(quarantine=True)
        self._watched: dict[Lease, _Watched] = {}
        self._machine = machine_name()

    @property
    def pids(self) -> list[int]:
        """Process ids of the executors that live now."""
        return [
            place.process.child.pid
            for place in (*self._places, self._quarantine)
            if place.process is not None and place.process.child.is_alive
        ]

    def run(self, should_stop: Callable[[], bool], on_started: Callable[[], None], turning: Part) -> None:
        """Keep the pool up until told to stop.

        Args:
            should_stop: Asked at least once a second.
            on_started: Called once every process of the first start is ready.
            turning: Told that this thread does its work; a database that makes it wait is no fault of its own.
        """
        with turning.excused():
            clear_away_all(self._settings, self.pids)
            self._fill()
            for place in self._places:
                if place.process is not None:
                    with contextlib.suppress(ProcessEnded, TimeoutError):
                        # One that fails is seen below, and started again.
                        place.process.wait_ready()
        on_started()
        next_look = 0.0
        while not should_stop():
            turning.turn()
            if time.monotonic() >= next_look:
                # First: one that stands still may be what keeps the database locked, and looking waits for that.
                self._kill_hanging()
                with turning.excused():
                    self._look()
                self._kill_immoderate()
                next_look = time.monotonic() + _LOOK_SECONDS
            self._fill()
            living = [p.process for p in (*self._places, self._quarantine) if p.process is not None]
            wait_any(living, min(_LOOK_SECONDS, max(0.0, next_look - time.monotonic())))
            with turning.excused():
                self._bury()

    def stop(self) -> None:
        """Stop every process in order: all are told first, then each is waited for."""
        processes = [p.process for p in (*self._places, self._quarantine) if p.process is not None]
        for process in processes:
            process.child.send_signal(15)
        for process in processes:
            process.stop(self._settings.drain_seconds + 12)
            clear_away(self._settings, process.child.pid)
        with contextlib.suppress(Unavailable):
            self._holders()

    def _fill(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.process is None and now >= place.start_after:
                self._start_in(place)

    def _start_in(self, place: _Place) -> None:
        process = ExecutorProcess(self._settings, quarantine=place.quarantine)
        try:
            process.start(background=True)
        except Unavailable as error:
            seconds = place.delay.after(0)
            log.warning("cannot start a process, trying again in %.1f s: %s", seconds, error)
            place.start_after = time.monotonic() + seconds
            return
        place.process, place.killed_because, place.life, place.crowded_looks = process, None, None, 0
        place.started_at = time.monotonic()

    def _bury(self) -> None:
        """See which of our processes have ended, give their work back, and plan their successors."""
        for place in (*self._places, self._quarantine):
            process = place.process
            if process is None:
                continue
            process.child.refresh()
            if process.child.is_lost:
                # Nobody would learn how it ends: it is replaced.
                place.kill("its fork server died")
                process.child.wait_gone(5)
            if process.child.is_alive:
                continue
            place.process = None
            self._after_death(place, process)

    def _after_death(self, place: _Place, process: ExecutorProcess) -> None:
        code = process.child.exit_code
        facts = process.child.facts
        marks = marks_path(self._settings, process.child.pid)
        reason = place.killed_because or exit_reason(code or 0, self._settings.executor_memory_mb)
        is_settled = True
        if facts is not None and code != 0:
            lease = Lease(facts["lease_id"], facts["epoch"])
            is_settled = self._rescue(lease, read_marks(marks), reason, place)
        if is_settled:
            marks.unlink(missing_ok=True)
        clear_away(self._settings, process.child.pid)
        # Processes beside it have folders, too.
        clear_away_all(self._settings, self.pids)
        if code == 0:
            place.delay, place.start_after = RestartDelay(), time.monotonic()
            return
        seconds = place.delay.after(time.monotonic() - place.started_at)
        place.start_after = time.monotonic() + seconds
        counting.add(DEATHS, 1)
        log.warning("%s %d has ended: %s; next start in %.1f s", process.name, process.child.pid, reason, seconds)

    def _rescue(self, lease: Lease, suspects: list[Suspect], reason: str, place: _Place | None) -> bool:
        """Give a dead executor's work back.  False: not now; its lease does not beat, so a later look finds it."""
        crash_point("death.seen")
        try:
            rescued = self._leases.rescue(
                lease,
                suspects,
                max_deaths=self._settings.max_deaths,
                reason=reason,
                # What runs alone is to blame, marked or not.
                ran_alone=place is not None and place.quarantine,
            )
        except Unavailable as error:
            log.warning("cannot rescue now, trying again: %s", error)
            return False
        self._watched.pop(lease, None)
        if rescued.requeued or rescued.parked:
            log.warning("rescued %d executions, gave up %d", rescued.requeued, len(rescued.parked))
            send_nudge(self._settings.run_dir, Topic.QUEUE)
        return True

    def _look(self) -> None:
        """Time the beats of all leases, and start the quarantine when something waits for it."""
        try:
            holders = self._holders()
            self._requeue_orphans()
            has_suspects = self._queue.has_suspects()
        except Unavailable as error:
            log.warning("cannot look at the leases, trying again: %s", error)
            # Nobody can beat now either: give everybody the full time again.
            self._watched.clear()
            return
        for lease in [lease for lease in self._watched if lease not in holders]:
            del self._watched[lease]
        self._kill_leaseless(holders)
        for lease, holder in holders.items():
            self._time(lease, holder)
        if has_suspects and self._quarantine.process is None and time.monotonic() >= self._quarantine.start_after:
            self._start_in(self._quarantine)

    def _kill_immoderate(self) -> None:
        """Kill processes of ours that take more than they may, with what they started."""
        for place in (*self._places, self._quarantine):
            if place.process is None or not place.process.child.is_alive:
                continue
            pid = place.process.child.pid
            reason = place.killed_because or excess(self._settings, pid)
            if reason is not None:
                # Before the process itself, by which they would be found.
                kill_tree(pid)
                place.kill(reason)
            else:
                self._replace_crowded(place, pid)

    def _replace_crowded(self, place: _Place, pid: int) -> None:
        """Let a process end in order where what one block left running keeps all others from starting anything."""
        place.crowded_looks = place.crowded_looks + 1 if is_crowded(self._settings, pid) else 0
        if place.crowded_looks == _CROWDED_LOOKS and place.process is not None:
            log.warning("%s %d is replaced: its blocks keep too many processes alive", place.process.name, pid)
            place.process.child.send_signal(15)

    def _kill_leaseless(self, holders: dict[Lease, Holder]) -> None:
        """Kill processes of ours that somebody else gave up, and that hang so that they do not notice."""
        now = time.monotonic()
        for place in (*self._places, self._quarantine):
            facts = None if place.process is None else place.process.child.facts
            if place.process is None or facts is None or Lease(facts["lease_id"], facts["epoch"]) in holders:
                place.leaseless_since = None
            elif place.leaseless_since is None:
                place.leaseless_since = now
            elif now - place.leaseless_since > self._settings.executor_lease_seconds + self._settings.drain_seconds:
                place.kill("it went on although its work had been given to others")

    def _holders(self) -> dict[Lease, Holder]:
        """Read who holds leases, and remove what the dead marked who hold none: their work was given back already."""
        # Listed before the leases are read: who marks has taken one.
        marks = list(self._settings.run_dir.glob("executor-*.running"))
        holders = self._leases.holders()
        needed = {marks_path(self._settings, one.pid) for one in holders.values() if one.host == self._machine}
        for path in marks:
            pid = path.stem.removeprefix("executor-")
            if path not in needed and pid.isdecimal() and not psutil.pid_exists(int(pid)):
                path.unlink(missing_ok=True)
        return holders

    def _requeue_orphans(self) -> None:
        requeued = self._leases.requeue_orphans()
        if requeued:
            log.error("%d executions were RUNNING without any executor; they are queued again", requeued)
            send_nudge(self._settings.run_dir, Topic.QUEUE)

    def _time(self, lease: Lease, holder: Holder) -> None:
        watched = self._watched.get(lease)
        if watched is None or watched.beat != holder.beat:
            self._watched[lease] = _Watched(holder.beat)
            if watched is not None or not self._has_gone(holder):
                return
            reason = "it was gone"
        elif time.monotonic() - watched.changed_at < self._settings.executor_lease_seconds or not self._can_write():
            return
        elif watched.writable_since is None:
            # Perhaps the database was locked until this moment: a beat may just be under way.
            watched.writable_since = time.monotonic()
            return
        elif time.monotonic() - watched.writable_since < _PROMPT_SECONDS:
            return
        else:
            reason = self._hangs()
        own = self._own(lease)
        if own is not None and own.process is not None:
            # Killed first: its marks then say for certain what it was running.
            own.kill(reason)
            own.process.child.wait_gone(5)
        else:
            log.warning("executor %d on %s: %s", holder.pid, holder.host.partition(" ")[0], reason)
        marks = marks_path(self._settings, holder.pid)
        here = holder.host == self._machine
        is_settled = self._rescue(lease, read_marks(marks) if here else [], reason, own)
        if is_settled and here:
            marks.unlink(missing_ok=True)

    def _hangs(self) -> str:
        return f"it did not answer for {self._settings.executor_lease_seconds:g} s; its loop hangs"

    def _note_life(self) -> None:
        for place in (*self._places, self._quarantine):
            if place.process is None or place.process.child.facts is None:
                continue
            try:
                touched = marks_path(self._settings, place.process.child.pid).stat().st_mtime_ns
            except OSError:
                continue
            if place.life is None or place.life[0] != touched:
                place.life = (touched, time.monotonic())

    def _kill_hanging(self) -> None:
        """Kill processes of ours whose loop has stood still for so long that a full machine is no explanation."""
        self._note_life()
        longest = 2 * self._settings.executor_lease_seconds + _PROMPT_SECONDS
        for place in (*self._places, self._quarantine):
            if place.process is None or place.life is None or not place.process.child.is_alive:
                continue
            if time.monotonic() - place.life[1] >= longest:
                place.kill(self._hangs())

    def _own(self, lease: Lease) -> _Place | None:
        for place in (*self._places, self._quarantine):
            facts = None if place.process is None else place.process.child.facts
            # By the lease: another process may have had the same id.
            if facts is not None and facts["lease_id"] == lease.id:
                return place
        return None

    def _can_write(self) -> bool:
        """Tell a holder that hangs from one that cannot beat because somebody else keeps the database locked."""
        # No longer: it may be one of ours that stands still and keeps it locked, and must be killed then.
        if self._db.can_write(_PROMPT_SECONDS):
            return True
        log.warning("the database was locked; everybody gets the full lease time again")
        self._watched.clear()
        return False

    def _has_gone(self, holder: Holder) -> bool:
        """Tell whether a holder of this machine is no process any more, so that nobody need wait for its lease."""
        if holder.host != self._machine:
            return False
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False
