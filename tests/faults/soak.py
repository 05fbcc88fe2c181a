"""Long faults against real servers under load: ten minutes of random kills, a database that is away for a minute.

Schedules of every kind fire and are changed meanwhile; on PostgreSQL three schedulers run beside the server's own.

``./scripts/soak`` runs it, prints the seed and a verdict, and ends with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults import load
from tests.faults.checker import Checker
from tests.faults.load import Load
from tests.faults.owner import Owner
from tests.faults.scheduler_processes import SchedulerProcesses
from tests.postgres_server import PostgresServer, find_binaries, free_port
from tests.running_server import Server, environment, running_server

#: Seconds between two faults; executions in one request; executions that may wait before no more are submitted.
_PAUSE, _BATCH, _MAX_WAITING = (0.2, 2.0), 20, 1_000
#: Chances that one of a batch is stopped, and that one is paused for a while.
_STOPPED, _PAUSED = 0.3, 0.2
#: Seconds after which everything must have ended, once nothing is broken any more.
_SETTLE = 180.0
#: Seconds after which the server must call itself well, once all have ended.
_HEALING = 15.0
_LEASE = 2.0
#: Processes of a server that has only just begun to start again: the fork server, its trackers, the first to come.
_BARELY_STARTED = 3
#: Schedulers beside the server's own, where the database takes more than one machine.
_SCHEDULERS = 3
_SLOTS = """
SELECT "outcome", SUM(COALESCE("count", 0)) FROM "AgentScheduleSlot"
WHERE "scheduleId" IN (SELECT "id" FROM "AgentExecutionSchedule") GROUP BY "outcome"
"""


@dataclass
class Run:
    """One kind of fault on one database: what was done, and what came of it."""

    name: str
    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter[str])
    refused: int = 0
    problems: list[str] = field(default_factory=list[str])
    accepted: list[str] = field(default_factory=list[str])
    #: What became of the due times of schedules.
    slots: Counter[str] = field(default_factory=Counter[str])

    def say(self, text: str) -> None:
        print(f"{self.name}: {text}", flush=True)

    def verdict(self) -> bool:
        faults = ", ".join(f"{count} × {what}" for what, count in sorted(self.faults.items())) or "none"
        self.say(f"faults: {faults}")
        self.say(f"{len(self.accepted):,} executions accepted, {self.refused:,} requests refused")
        self.say(
            f"slots of schedules: {', '.join(f'{n:,} {what}' for what, n in sorted(self.slots.items())) or 'none'}"
        )
        for problem in self.problems[:20]:
            self.say(f"BROKEN {problem}")
        kept = "kept: every accepted execution ended once, whole, nothing was doubled; every due time was decided once"
        self.say("BROKEN" if self.problems else kept)
        return not self.problems


class Submitter:
    """Submits batches of all graphs from a thread, for as long as it is open; asks again until it is answered.

    Some of what it submitted it stops or pauses, whatever that is doing; what it paused goes on in the end.
    """

    def __init__(self, run: Run, client: Load) -> None:
        self._run, self._load = run, client
        chain = client.store(load.chain())
        documents = (
            load.stream(),
            load.parts(),
            load.loop(),
            load.fan_out(),
            load.retrying(),
            load.waiting(),
            load.calling(chain),
        )
        self._graphs = [chain, *(client.store(document) for document in documents)]
        #: May be paused: nobody knows what became of a request without an answer.
        self._paused: list[str] = []
        self._stopping = threading.Event()
        self._chance = random.Random(run.chance.random())
        self._thread = threading.Thread(target=self._submit_on, name="submitter")

    def __enter__(self) -> Submitter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for id_ in self._paused:
            self._load.call_until_answered("POST", f"/executions/{id_}/resume")

    def _submit_on(self) -> None:
        while not self._stopping.is_set():
            key = f"{self._chance.getrandbits(64):x}"
            graph_id = self._chance.choice(self._graphs)
            end = time.monotonic() + _SETTLE
            while not self._submit(graph_id, key):
                # Also once it stops: what was asked for is settled, so that nothing unknown is left.
                if time.monotonic() > end:
                    self._run.problems.append(f"no submit was accepted for {_SETTLE:g} s")
                    return
                time.sleep(0.1)
            self._meddle(self._run.accepted[-_BATCH:])
            while not self._stopping.is_set() and self._waiting() > _MAX_WAITING:
                time.sleep(0.1)
            self._stopping.wait(0.05)

    def _meddle(self, ids: list[str]) -> None:
        if self._chance.random() < _STOPPED:
            self._ask("stop", self._chance.choice(ids))
        if self._chance.random() < _PAUSED:
            self._paused.append(self._chance.choice(ids))
            self._ask("pause", self._paused[-1])

    def _ask(self, what: str, id_: str) -> None:
        answer = self._load.once("POST", f"/executions/{id_}/{what}")
        if answer is not None and answer.is_success:
            self._run.faults[what] += 1

    def _submit(self, graph_id: str, key: str) -> bool:
        answer = self._load.once(
            "POST", f"/graphs/{graph_id}/execute/batch", {"inputs": [{}] * _BATCH}, headers={"Idempotency-Key": key}
        )
        if answer is not None and answer.status_code == 202:
            self._run.accepted += answer.json()["ids"]
            return True
        self._run.refused += 1
        if answer is not None and (answer.status_code != 503 or "Retry-After" not in answer.headers):
            self._run.problems.append(f"a submit was answered {answer.status_code}: {answer.text[:200]}")
        return False

    def _waiting(self) -> int:
        with contextlib.suppress(Exception), self._load.database.read() as c:
            text = "SELECT COUNT(*) FROM \"AgentGraphExecution\" WHERE \"status\" IN ('QUEUED','RUNNING')"
            return c.execute(text).scalar_one()
        return 0


@dataclass(frozen=True)
class _World:
    """What is broken in one run."""

    run: Run
    folder: Path
    url: str
    server: Server
    client: Load
    schedulers: SchedulerProcesses

    def processes(self) -> dict[int, str]:
        """What lives, by process id."""
        children = psutil.Process(self.server.process.pid).children(recursive=True)
        return {process.pid: _what(process) for process in (*children, *self.schedulers.alive)}


@contextlib.contextmanager
def _world(run: Run, url: str) -> Iterator[_World]:
    with (
        tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        env = _environment(folder, url)
        server = stack.enter_context(running_server(env))
        count = 0 if url.startswith("file:") else _SCHEDULERS
        schedulers = stack.enter_context(SchedulerProcesses(env, folder, count))
        client = stack.enter_context(contextlib.closing(Load(server.url, url, folder, _SETTLE)))
        yield _World(run, folder, url, server, client, schedulers)


def kills(run: Run, url: str, seconds: float) -> None:
    """Kill, and now and then stop for longer than a lease, any process of a server under load."""
    with _world(run, url) as world:
        owner = Owner(world.client, random.Random(run.chance.random()), run.problems.append)
        with Submitter(run, world.client), owner:
            _go_on(run, seconds, lambda: _break_something(world))
            for stopped in (
                *psutil.Process(world.server.process.pid).children(recursive=True),
                *world.schedulers.alive,
            ):
                _resume(stopped)
        world.schedulers.start_again()
        _settle(world, owner)
        _tell_logs(world)


def _break_something(world: _World) -> None:
    run = world.run
    world.schedulers.start_again(run.chance)
    victims = psutil.Process(world.server.process.pid).children(recursive=True)
    # Every second of the two that are there would be killed while it starts: nothing would ever come back.
    victims = (victims if len(victims) > _BARELY_STARTED else []) + world.schedulers.alive
    if not victims:
        return
    victim = run.chance.choice(victims)
    with contextlib.suppress(psutil.NoSuchProcess):
        name = _what(victim)
        if run.chance.random() < 0.1:
            victim.suspend()
            run.faults[f"stopped {name}"] += 1
            threading.Timer(_LEASE * 2, _resume, [victim]).start()
        else:
            victim.kill()
            run.faults[f"killed {name}"] += 1


def _what(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    for part, name in (("main.mjs", "engine"), ("forkserver", "fork server"), ("resource_tracker", "resource tracker")):
        if part in command:
            return name
    return process.name().removeprefix("autogpt: ")


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()


def outage(run: Run, url: str, seconds: float, go_away: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
    """Take the database away under load; nothing may die of it, and all goes on when it is back."""
    with _world(run, url) as world:
        owner = Owner(world.client, random.Random(run.chance.random()), run.problems.append)
        with Submitter(run, world.client), owner:
            _go_on(run, min(seconds, 5.0), lambda: None)
            before = world.processes()
            with _gone(url, world.folder, go_away):
                run.faults["outage"] += 1
                _go_on(run, seconds, lambda: None)
                if (answer := world.client.once("GET", "/health")) is None or answer.status_code != 503:
                    run.problems.append("health was not 503 while the database was away")
            _go_on(run, min(seconds, 5.0), lambda: None)
        _settle(world, owner)
        _heal(run, world.client)
        after = world.processes()
        if died := [name for pid, name in before.items() if pid not in after]:
            run.problems.append(f"processes died of the outage: {', '.join(died)}")
        _tell_logs(world)


@contextlib.contextmanager
def _gone(url: str, folder: Path, go_away: Callable[[], contextlib.AbstractContextManager[None]]) -> Iterator[None]:
    if url.startswith("file:"):
        holder = sqlite3.connect(folder / url.removeprefix("file:"), timeout=30, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            holder.execute("ROLLBACK")
            holder.close()
    else:
        with go_away():
            yield


def _go_on(run: Run, seconds: float, act: Callable[[], None]) -> None:
    end, next_line = time.monotonic() + seconds, time.monotonic() + 10
    while (left := end - time.monotonic()) > 0:
        act()
        if time.monotonic() > next_line:
            next_line += 10
            done = sum(run.faults.values())
            run.say(f"{left:.0f} s to go, {done} faults, {len(run.accepted):,} accepted, {run.refused:,} refused")
        time.sleep(min(left, run.chance.uniform(*_PAUSE)))


def _settle(world: _World, owner: Owner) -> None:
    run = world.run
    try:
        owner.settle()
        world.client.wait_for_all()
    except AssertionError as error:
        run.problems.append(str(error))
    with world.client.database.read() as c:
        # Chance may hit the executor of one execution again and again.
        run.problems += Checker(c, max_deaths=1_000_000).problems(run.accepted, owner.known.values())
        run.slots.update(dict(c.execute(_SLOTS).all()))
    if world.server.process.poll() is not None:
        run.problems.append("the server has ended")


def _heal(run: Run, client: Load) -> None:
    """Wait until the server calls itself well again; some of its parts look only every few seconds."""
    end = time.monotonic() + _HEALING
    while (answer := client.once("GET", "/health")) is None or answer.status_code != 200:
        if time.monotonic() > end:
            run.problems.append(f"health did not come back: {'no answer' if answer is None else answer.text}")
            return
        time.sleep(0.1)


def _tell_logs(world: _World) -> None:
    """Print what the server and the schedulers themselves said about what went wrong."""
    if world.run.problems:
        for text in ((world.folder / "server.log").read_text(), world.schedulers.log()):
            for line in [line for line in text.splitlines() if '"level": "info"' not in line][-40:]:
                world.run.say(f"log {line[:2_000]}" if '"exception"' in line else f"log {line[:300]}")


def _environment(folder: Path, url: str) -> dict[str, str]:
    return environment(
        folder,
        url,
        AUTOGPT_PORT=str(free_port()),
        AUTOGPT_BLOCKS=load.BLOCKS,
        AUTOGPT_EXECUTOR_LEASE_SECONDS=str(_LEASE),
        AUTOGPT_MAX_DEATHS="1000000",
    )


def soak(databases: list[str], kinds: list[str], seconds: float, outage_seconds: float, seed: int) -> bool:
    """Run the chosen faults; returns whether all promises were kept."""
    print(f"seed {seed}", flush=True)
    verdicts: list[bool] = []
    for database in databases:
        for kind in kinds:
            run = Run(f"{database} {kind}", random.Random(f"{seed} {database} {kind}"))
            with _database(database) as (url, go_away):
                if kind == "kills":
                    kills(run, url, seconds)
                else:
                    outage(run, url, outage_seconds, go_away)
            verdicts.append(run.verdict())
    print(f"VERDICT: {'kept' if all(verdicts) else 'BROKEN'} (seed {seed})", flush=True)
    return all(verdicts)


Away = Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def _database(kind: str) -> Iterator[tuple[str, Away]]:
    if kind == "sqlite":
        yield "file:database.db", contextlib.nullcontext
        return
    binaries = find_binaries()
    if binaries is None:
        sys.exit("PostgreSQL's binaries are not installed: run ./scripts/test once")
    with PostgresServer(binaries, fsync="on", synchronous_commit="on") as server, server.database() as url:

        @contextlib.contextmanager
        def away() -> Iterator[None]:
            server.crash()
            try:
                yield
            finally:
                server.start_again()

        yield url, away


def main() -> None:
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--only", choices=["kills", "outage", "both"], default="both", help="the kind of fault")
    parser.add_argument("--seconds", type=float, default=600, help="of killing, on each database")
    parser.add_argument("--outage", type=float, default=60, help="seconds without a database")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run; times differ all the same")
    options = parser.parse_args()
    databases = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    kinds = ["kills", "outage"] if options.only == "both" else [options.only]
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    kept = soak(databases, kinds, options.seconds, options.outage, seed)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
