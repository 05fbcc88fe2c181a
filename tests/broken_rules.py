"""Breaks the rules of the engine on purpose, one at a time in a copy of the tree, and sees that a test notices.

``./scripts/break_rules [WORDS]`` runs all, or those whose rule has one of the words, and ends with 1 where a broken
rule went unnoticed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: What a copy of the tree needs; the rest is linked.
_COPIED = (
    "autogpt_server",
    "tests",
    "migrations",
    "engine",
    "benchmarks",
    "examples",
    "docs",
    "scripts",
    "requirements",
)
_FILES = (
    "schema.prisma",
    "pyproject.toml",
    "package.json",
    "package-lock.json",
    "poetry.lock",
    "app.py",
    ".env.example",
)
_LIMIT_SECONDS = 300


@dataclass(frozen=True)
class BrokenRule:
    """A rule, a change of one place that breaks it, and the tests that must then fail."""

    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_MACHINE = "tests/data/test_state_machine.py"
_QUEUE, _OWNERSHIP = "tests/data/test_queue.py", "tests/data/test_ownership.py"
_CRON = "tests/scheduler/test_cron_walker.py"
_CREDENTIALS = "tests/credentials/test_credential_store.py"
_CLOCKS = "tests/faults/test_clock_jumps.py"
_FIRING, _TIMERS = "tests/data/test_firing.py", "tests/scheduler/test_timers.py"
_FIRING_DEATHS = "tests/faults/test_schedule_deaths.py"

BROKEN_RULES = (
    BrokenRule(
        "whoever lost its lease writes nothing",
        "autogpt_server/data/leases.py", "        if changed == 0:\n", "        if changed < 0:\n", (_QUEUE, _MACHINE),
    ),
    BrokenRule(
        "an executor writes under its own attempt only",
        "autogpt_server/data/records.py",
        "if self.executor != lease.id or self.attempt != record.attempt:", "if self.executor != lease.id:",
        (_OWNERSHIP, _MACHINE),
    ),
    BrokenRule(
        "an execution of another executor is not written",
        "autogpt_server/data/records.py",
        "if self.executor != lease.id or self.attempt != record.attempt:", "if self.attempt != record.attempt:",
        (_OWNERSHIP, _MACHINE),
    ),
    BrokenRule(
        "a rescue raises the epoch",
        "autogpt_server/data/leases.py", 'SET "epoch" = "epoch" + 1', 'SET "epoch" = "epoch"', (_QUEUE, _MACHINE),
    ),
    BrokenRule(
        "so many deaths give an execution up",
        "autogpt_server/data/leases.py", "row[1] + 1 >= max_deaths", "row[1] >= max_deaths", (_QUEUE, _MACHINE),
    ),
    BrokenRule(
        "only suspects are blamed for a death",
        "autogpt_server/data/leases.py", "if row[0] in by_execution or ran_alone", "if True or ran_alone",
        (_QUEUE, _MACHINE),
    ),
    BrokenRule(
        "suspects wait in the quarantine",
        "autogpt_server/data/leases.py", "                    (QUARANTINE, execution_id),\n",
        '                    ("", execution_id),\n', (_QUEUE, _MACHINE),
    ),
    BrokenRule(
        "a limit of a graph holds over all executors",
        "autogpt_server/model/turns.py", "return not one.lane_limit or self._in_lane[one.lane] < one.lane_limit",
        "return True", ("tests/data/test_claims.py", _MACHINE),
    ),
    BrokenRule(
        "a limit of a user holds",
        "autogpt_server/model/turns.py", "if self._user_limit is not None and user.counted >= self._user_limit:",
        "if False:", ("tests/model/test_turns.py",),
    ),
    BrokenRule(
        "users take turns",
        "autogpt_server/model/turns.py", "heapq.heappush(turns, (user.running, one.id, name))",
        "heapq.heappush(turns, (-user.running, one.id, name))", ("tests/model/test_turns.py",),
    ),
    BrokenRule(
        "users take turns at threads and processes, too",
        "autogpt_server/executor/fair_places.py", "user_id = min(self._waiting, key=self._held.__getitem__)",
        "user_id = next(iter(self._waiting))", ("tests/executor/test_fair_places.py",),
    ),
    BrokenRule(
        "some places are kept for those of whom nothing runs",
        "autogpt_server/executor/worker.py", "settings.executor_concurrency // _ONE_KEPT_IN", "0",
        ("tests/executor/test_fair_places.py",),
    ),
    BrokenRule(
        "higher priorities go first",
        "autogpt_server/data/queue.py", 'ORDER BY "priority" DESC, "id" LIMIT ?', 'ORDER BY "id" LIMIT ?',
        ("tests/data/test_claims.py", _MACHINE),
    ),
    BrokenRule(
        "a pause that was asked for meets a rescue",
        "autogpt_server/data/release.py", "THEN 'PAUSED' ELSE 'QUEUED'", "THEN 'QUEUED' ELSE 'QUEUED'",
        (_OWNERSHIP, _MACHINE),
    ),
    BrokenRule(
        "a stop that was asked for meets a rescue",
        "autogpt_server/data/release.py", "THEN 'TERMINATED'\n", "THEN 'QUEUED'\n", (_OWNERSHIP, _MACHINE),
    ),
    BrokenRule(
        "parts of what was stopped do not start",
        "autogpt_server/data/queue.py", "if status.is_final or row[2] is not None:", "if False:", (_OWNERSHIP,),
    ),
    BrokenRule(
        "every commit raises the revision",
        "autogpt_server/data/records.py", "            self.revision += 1\n", "            self.revision += 0\n",
        (_QUEUE,),
    ),
    BrokenRule(
        "one row that cannot be stored fails alone",
        "autogpt_server/data/commit.py", "            if len(owners) == 1:\n", "            if owners:\n",
        ("tests/data/test_commit.py",),
    ),
    BrokenRule(
        "what an attempt recorded is replayed by the next one",
        "autogpt_server/executor/graph_executor.py", "if claimed.attempt > 1 or claimed.is_rerun:",
        "if claimed.is_rerun:", ("tests/executor/test_worker.py",),
    ),
    BrokenRule(
        "a node with effects starts after its producers and its own start are stored",
        "autogpt_server/executor/graph_executor.py",
        '            crash_point("node.opened")\n            await self._commit(None)\n',
        '            crash_point("node.opened")\n', ("tests/executor/test_commit_order.py",),
    ),
    BrokenRule(
        "what is streamed goes downstream after it is stored",
        "autogpt_server/executor/graph_executor.py",
        '            crash_point("stream.taken")\n            await self._commit(None)\n',
        '            crash_point("stream.taken")\n', ("tests/executor/test_commit_order.py",),
    ),
    BrokenRule(
        "rows decide, nudges only hint",
        "autogpt_server/executor/worker.py", "            async with asyncio.timeout(seconds):\n",
        "            async with asyncio.timeout(None):\n", ("tests/executor/test_commit_order.py",),
    ),
    BrokenRule(
        "a history with a gap is told",
        "autogpt_server/model/wiring.py", "        if record.sequence != expected:\n", "        if False:\n",
        ("tests/model/test_wiring.py",),
    ),
    BrokenRule(
        "a history with other inputs is told",
        "autogpt_server/model/wiring.py", "self._check_inputs(record, ready.popleft().inputs, expected, where)",
        "ready.popleft()", ("tests/model/test_wiring.py",),
    ),
    BrokenRule(
        "what was put first is stored first",
        "autogpt_server/data/commit.py", "[self._waiting.popleft() for", "[self._waiting.pop() for",
        ("tests/data/test_commit.py",),
    ),
    BrokenRule(
        "who does not beat for the time of its lease is given up",
        "autogpt_server/executor/pool.py", "watched.changed_at < self._settings.executor_lease_seconds or",
        "watched.changed_at < 1e9 or", ("tests/faults/test_late_writers.py",),
    ),
    BrokenRule(
        "what was streamed is not streamed again",
        "autogpt_server/executor/graph_executor.py", "task.stream.skip += 1", "task.stream.skip += 0",
        ("tests/executor/test_streams.py",),
    ),
    BrokenRule(
        "retries are bounded",
        "autogpt_server/model/retries.py", "tries >= policy.attempts", "tries > policy.attempts",
        ("tests/model/test_retries.py",),
    ),
    BrokenRule(
        "a wait that the other side asks for is honoured",
        "autogpt_server/model/retries.py", "return min(max(delay, _asked_for(error)), policy.max_delay_seconds)",
        "return min(delay, policy.max_delay_seconds)", ("tests/model/test_retries.py",),
    ),
    BrokenRule(
        "logs of a node are bounded",
        "autogpt_server/executor/block_logs.py", "        self._room -= size\n", "        self._room -= 0\n",
        ("tests/executor/test_block_logs.py",),
    ),
    BrokenRule(
        "events come in the order of the commits",
        "autogpt_server/server/feed.py", "told.sort(key=lambda one: one[0])", "told.reverse()",
        ("tests/server/test_feed.py",),
    ),
    BrokenRule(
        "who comes back gets a whole revision",
        "autogpt_server/server/feed.py",
        "is_last = i + 1 == len(told) or told[i + 1][0] != revision", "is_last = True",
        ("tests/server/test_feed.py",),
    ),
    BrokenRule(
        "a server that stops takes no new executions",
        "autogpt_server/executor/submit.py", "        if self.is_draining:\n", "        if False:\n",
        ("tests/journeys/test_drain.py",),
    ),
    BrokenRule(
        "memory that is used up ends the process, so that what ran runs alone",
        "autogpt_server/executor/memory.py", "if not self._runs_alone and self._is_used_up():", "if False:",
        ("tests/executor/test_limits.py",),
    ),
    BrokenRule(
        "nothing is handed over to whoever lost its lease",
        "autogpt_server/data/queue.py", "        if not self._leases.is_held(connection, lease):\n",
        "        if False:\n", (_MACHINE, "tests/executor/test_handing_over.py"),
    ),
    BrokenRule(
        "what is handed over overtakes nobody",
        "autogpt_server/data/queue.py", """"status" = 'QUEUED' AND "id" <> ?)""",
        """"status" = 'PAUSED' AND "id" <> ?)""", (_MACHINE, "tests/executor/test_handing_over.py"),
    ),
    BrokenRule(
        "what was claimed without the executor knowing goes back",
        "autogpt_server/executor/worker.py", "            if strays:\n", "            if False:\n",
        ("tests/faults/test_unknown_commits.py",),
    ),
    BrokenRule(
        "what was accepted already is not accepted again",
        "autogpt_server/data/queue.py", "0,0,1) ON CONFLICT DO NOTHING", "0,0,1)",
        ("tests/faults/test_unknown_commits.py",),
    ),
    BrokenRule(
        "an engine that stands still is replaced",
        "autogpt_server/data/query_engine.py", "            if not self._answers():\n", "            if False:\n",
        ("tests/data/test_query_engine.py",),
    ),
    BrokenRule(
        "a process that stands still is replaced",
        "autogpt_server/service/supervisor.py", "        elif slot.is_late:\n", "        elif False:\n",
        ("tests/service/test_supervisor.py",),
    ),
    BrokenRule(
        "signs of life come from all that works",
        "autogpt_server/service/pulse.py", "or self._still - self._excused:", "or False:",
        ("tests/service/test_pulse.py",),
    ),
    BrokenRule(
        "a server that was frozen as a whole keeps its processes",
        "autogpt_server/service/supervisor.py", "        if now - self._turned_at > _STOOD_STILL_SECONDS:\n",
        "        if False:\n", ("tests/faults/test_standstills.py",),
    ),
    BrokenRule(
        "a fork server that stands still is killed",
        "autogpt_server/service/fork_server.py", "            self._kill()\n            raise OSError",
        "            raise OSError", ("tests/service/test_fork_server.py",),
    ),
    BrokenRule(
        "no more children than allowed",
        "autogpt_server/executor/child_count.py", "            raise TooManyChildren(message)\n",
        "            del message\n", ("tests/executor/test_limits.py",),
    ),
    BrokenRule(
        "processes that a block left running are not in the way of other blocks",
        "autogpt_server/executor/pool.py", "if place.crowded_looks == _CROWDED_LOOKS", "if False",
        ("tests/executor/test_isolation.py",),
    ),
    BrokenRule(
        "what a block forked ends with its executor, whatever it left",
        "autogpt_server/executor/leftovers.py", " or _was_forked(process, folder)", "",
        ("tests/executor/test_isolation.py",),
    ),
    BrokenRule(
        "a draft is told only once it is durable",
        "autogpt_server/server/feed.py", "prepared is None or prepared.name != self._durable or", "prepared is None or",
        ("tests/server/test_draft_events.py",),
    ),
    BrokenRule(
        "a draft is told only where nothing lies in between",
        "autogpt_server/server/feed.py", "before.revision == self.revision == draft.revision - 1", "before.revision",
        ("tests/server/test_draft_events.py",),
    ),
    BrokenRule(
        "a draft of an earlier try is never told durable",
        "autogpt_server/executor/drafting.py", "        self._last = None\n        if draft", "        if draft",
        ("tests/data/test_drafts.py",),
    ),
    BrokenRule(
        "an end that ends other nodes is no draft",
        "autogpt_server/data/records.py", "or records[0].outputs or self._unfinished or", "or",
        ("tests/data/test_drafts.py",),
    ),
    BrokenRule(
        "a fixed time that repeats comes the first time only, and never in the past",
        "autogpt_server/scheduler/cron.py",
        "            if first > moment:\n",
        "            if first:\n",
        (_CRON,),
    ),
    BrokenRule(
        "a fixed time that a jump skips comes right after it",
        "autogpt_server/scheduler/cron.py",
        "            first = moments[0] if moments else end_of_jump(due, zone)\n",
        "            if not moments:\n                continue\n            first = moments[0]\n",
        (_CRON,),
    ),
    BrokenRule(
        "what goes by elapsed time comes again where the clock is put back",
        "autogpt_server/scheduler/cron.py",
        "        repeated = None if local.fold else self._first_repeated(wall, zone)\n",
        "        repeated = None\n",
        (_CRON,),
    ),
    BrokenRule(
        "what goes by elapsed time comes only where the clock shows a time that fits",
        "autogpt_server/scheduler/cron.py",
        "for at in moments_of(due, zone) if at > moment)\n",
        "for at in moments_of(due, zone) or [end_of_jump(due, zone)] if at > moment)\n",
        (_CRON,),
    ),
    BrokenRule(
        "one of two restricted day fields is enough, both are needed where one begins with a star",
        "autogpt_server/scheduler/cron.py",
        "        prototype.day_and = self.needs_both_days\n",
        "        prototype.day_and = not (self.day.values and self.weekday.values)\n",
        (_CRON,),
    ),
    BrokenRule(
        "zones are those of tzdata, whatever the system knows",
        "autogpt_server/scheduler/zones.py",
        "        return TzdataZone.from_file(file, key=name)\n",
        "        return TzdataZone(name)\n",
        ("tests/scheduler/test_zones.py",),
    ),
    BrokenRule(
        "a trigger never brings a time again",
        "autogpt_server/scheduler/triggers.py",
        "            earliest = previous_fire_time.astimezone(UTC) + _MICROSECOND\n",
        "            earliest = min(earliest, previous_fire_time.astimezone(UTC) + _MICROSECOND)\n",
        ("tests/scheduler/test_triggers.py",),
    ),
    BrokenRule(
        "a clock that is put back silences no schedule",
        "autogpt_server/scheduler/timers.py",
        "                if is_put_back:\n",
        "                if is_put_back is None:\n",
        (_CLOCKS,),
    ),
    BrokenRule(
        "years of missed slots are fired in parts",
        "autogpt_server/scheduler/timers.py", "if slots >= MANY_SLOTS:", "if slots < 0:",
        (_CLOCKS,),
    ),
    BrokenRule(
        "schedulers hear of their own schema only",
        "autogpt_server/data/schedules.py",
        """CHANNEL = f"'autogpt_schedules_' || {SCHEMA_NUMBER}\"""",
        """CHANNEL = "'autogpt_schedules'\"""",
        ("tests/scheduler/test_schemas.py",),
    ),
    BrokenRule(
        "the parked row of a system task is not written over",
        "autogpt_server/scheduler/system_tasks.py",
        "elif present is not None or not _is_parked(execution_store, task):", "else:",
        ("tests/scheduler/test_system_tasks.py",),
    ),
    BrokenRule(
        "what was streamed stays with a node that ends with its execution",
        "autogpt_server/data/release.py",
        "    streamed = _streamed(db, c, execution_id, ids)\n", "    streamed: dict[str, str] = {}\n",
        ("tests/executor/test_streams.py",),
    ),
    BrokenRule(
        "firing: the key of a slot is its schedule and its due time",
        "migrations/sqlite/20261127092129_schedules/migration.sql",
        'PRIMARY KEY ("scheduleId", "scheduledAt")', 'PRIMARY KEY ("scheduleId", "scheduledAt", "firedAt")',
        (_FIRING, _TIMERS),
    ),
    BrokenRule(
        "firing: only a slot that nobody had written leads to an execution",
        "autogpt_server/data/firing.py",
        "if slot.execution_id and (slot.schedule_id, slot.scheduled_at) in won\n", "if slot.execution_id\n", (_FIRING,),
    ),
    BrokenRule(
        "firing: slots and their executions are written as one",
        "autogpt_server/data/firing.py",
        '            crash_point("slots.written")\n',
        '            c.execute("COMMIT")\n            c.execute("BEGIN")\n            crash_point("slots.written")\n',
        (_FIRING_DEATHS,),
    ),
    BrokenRule(
        "firing: slots are written before their schedule is moved on",
        "autogpt_server/scheduler/timers.py",
        "                fired = self._firing.fire(plans)\n",
        "                self._firing.advance(plans, self._jobs(plans))\n"
        "                for one in plans:\n"
        '                    one.schedule = one.schedule.model_copy(update={"next_run_at": one.next_run_at})\n'
        "                fired = self._firing.fire(plans)\n",
        (_FIRING_DEATHS,),
    ),
    BrokenRule(
        "firing: a schedule is moved on only where nobody changed it since",
        "autogpt_server/data/firing.py",
        'WHERE "id" = ? AND "revision" = ? AND "nextRunAt" = ?',
        'WHERE "id" = ? AND "revision" >= ? AND "nextRunAt" = ?',
        (_FIRING,),
    ),
    BrokenRule(
        "firing: the same holds on PostgreSQL",
        "autogpt_server/data/firing.py", 's."revision" = x.r AND ', "", (_FIRING,),
    ),
    BrokenRule(
        "firing: whether a schedule is still enabled and as it was is read again in the transaction that fires it",
        "autogpt_server/data/firing.py",
        "            if (revision, self._db.from_column(next_run_at)) == (known.revision, known.next_run_at):\n",
        "            if revision is not None:\n",
        (_FIRING,),
    ),
    BrokenRule(
        "firing: slots that were written before a crash are not put together anew",
        "autogpt_server/data/firing.py",
        "self._leave_begun(c, self._hold(c, plans, fired), fired)", "self._hold(c, plans, fired)", (_TIMERS,),
    ),
    BrokenRule(
        "firing: a slot that was written before a crash counts once among those that a schedule may have",
        "autogpt_server/data/firing.py",
        "(plan.is_of_several or plan.schedule.max_runs is not None)", "plan.is_of_several", (_TIMERS,),
    ),
    BrokenRule(
        "firing: what a clock decided about that was ahead is no reason to wait for years",
        "autogpt_server/data/slots.py", "clock.from_ms(min(last, ends[id_, first]))", "clock.from_ms(last)", (_FIRING,),
    ),
    BrokenRule(
        "firing: a schedule that skips has one execution at a time",
        "autogpt_server/data/firing_rules.py",
        "plan.keep_first(0 if waiting or running else 1, ", "plan.keep_first(1, ", (_FIRING,),
    ),
    BrokenRule(
        "firing: a schedule that buffers has one waiting at most",
        "autogpt_server/data/firing_rules.py",
        "room = (0 if waiting else 1) if running else max(0, 2 - waiting)", "room = 1", (_FIRING,),
    ),
    BrokenRule(
        "firing: what waits behind a running one is held back by its lane",
        "autogpt_server/data/scheduled_executions.py",
        "in (OverlapPolicy.BUFFER_ONE, OverlapPolicy.CANCEL_RUNNING)", "in (OverlapPolicy.CANCEL_RUNNING,)", (_FIRING,),
    ),
    BrokenRule(
        "firing: a schedule that cancels fires the latest of what is due",
        "autogpt_server/data/firing_rules.py", 'plan.keep_last("a later one is due as well")', "pass", (_FIRING,),
    ),
    BrokenRule(
        "firing: a schedule that cancels stops what runs",
        "autogpt_server/data/firing.py",
        "            fired.stopped += self._rules.cancel_running(c, rows, ends)\n", "", (_FIRING,),
    ),
    BrokenRule(
        "firing: the latest missed slot is made up for only where none is due in time",
        "autogpt_server/scheduler/planning.py",
        "set(missed[-1:]) if is_all_missed else set(), SUPERSEDED", "set(missed[-1:]), SUPERSEDED",
        ("tests/scheduler/test_planning.py",),
    ),
    BrokenRule(
        "firing: tombstones keep what was deleted from being taken over again",
        "autogpt_server/data/schedules.py",
        'f"{_INSERT} ON CONFLICT DO NOTHING"',
        """f'{_INSERT} ON CONFLICT ("id") DO UPDATE SET "deletedAt" = NULL'""",
        ("tests/data/test_schedules.py",),
    ),
    BrokenRule(
        "firing: a row that somebody writes for a deleted schedule is removed",
        "autogpt_server/scheduler/reconcile.py",
        "Reconciled(removed=self._strays.remove_buried())", "Reconciled()", ("tests/scheduler/test_reconcile.py",),
    ),
    BrokenRule(
        "what a block raises shows none of its secrets",
        "autogpt_server/executor/node_executor.py",
        "    message = context.redactor.text(message)\n", "", ("tests/journeys/test_canary.py",),
    ),
    BrokenRule(
        "what a block yields shows none of its secrets",
        "autogpt_server/executor/node_outputs.py",
        "            stored = self._redactor.value(stored)\n", "            pass\n", ("tests/journeys/test_canary.py",),
    ),
    BrokenRule(
        "one of all who wait refreshes a token",
        "autogpt_server/data/credentials.py",
        '"refreshLockedUntil" IS NULL OR "refreshLockedUntil" < ?', '? IS NOT NULL OR TRUE',
        ("tests/credentials/test_token_refresh.py",),
    ),
    BrokenRule(
        "credentials are opened for their user alone",
        "autogpt_server/data/credentials.py",
        ""","secret" FROM "Credential" WHERE "id" = ? AND "userId" = ?'""",
        ""","secret" FROM "Credential" WHERE "id" = ? AND ? IS NOT NULL'""", (_CREDENTIALS,),
    ),
    BrokenRule(
        "an old key of secrets stays until nobody can be about to write something under it",
        "autogpt_server/data/sealed.py", "hold_keys(db, c, alone=True)", "hold_keys(db, c)",
        ("tests/credentials/test_key_rotation.py",),
    ),
    BrokenRule(
        "credentials go along with no redirect to another host",
        "autogpt_server/blocks/web_client.py", "headers if _origin(url) == _origin(first) else {}", "headers",
        ("tests/blocks/test_web_blocks.py",),
    ),
)  # fmt: skip


def main() -> None:
    words = sys.argv[1:]
    chosen = [one for one in BROKEN_RULES if not words or any(word in one.rule for word in words)]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="broken-") as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        for one in chosen:
            began = time.monotonic()
            verdict = _verdict(tree, one)
            unnoticed += not verdict.startswith("noticed")
            print(f"{time.monotonic() - began:5.0f} s  {one.rule}: {verdict}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} broken rules were noticed")
    sys.exit(1 if unnoticed else 0)


def _copy(tree: Path) -> None:
    tree.mkdir()
    for name in _COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(ROOT / name, tree / name)
    (tree / "node_modules").symlink_to(ROOT / "node_modules")


def _verdict(tree: Path, one: BrokenRule) -> str:
    file = tree / one.file
    whole = file.read_text()
    if whole.count(one.old) != 1:
        return f"its place is in {one.file} {whole.count(one.old)} times"
    file.write_text(whole.replace(one.old, one.new))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["--hypothesis-profile", "no_shrinking", *one.tests]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"noticed, the tests did not end within {_LIMIT_SECONDS} s"
    finally:
        file.write_text(whole)
    if done.returncode == 1:
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        return f"noticed by {failed[0].split(' ')[1]}" if failed else "noticed"
    return "UNNOTICED" if done.returncode == 0 else f"the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-500:]}"


if __name__ == "__main__":
    main()
