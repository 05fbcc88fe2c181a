"""The claim loop of one executor process: claims under its lease, runs what it claimed, beats, drains at a stop."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.commit import GroupCommitter, LeaseLost
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.leases import Lease, Leases, machine_name
from autogpt_server.data.metering import Metered, count_records
from autogpt_server.data.queue import Claimed, ExecutionQueue
from autogpt_server.data.records import Record, recorder
from autogpt_server.errors import Unavailable
from autogpt_server.events.handover import Offering
from autogpt_server.events.nudge import LATER, Nudger, NudgeReceiver, Topic
from autogpt_server.executor import handed
from autogpt_server.executor.block_logs import kept_block_output
from autogpt_server.executor.compiled_graphs import CompiledGraphs
from autogpt_server.executor.context import ExecutionScope, parse_networks
from autogpt_server.executor.drafting import Drafting
from autogpt_server.executor.exit_reasons import OUT_OF_MEMORY
from autogpt_server.executor.graph_executor import ExecutionLimits, GraphExecutor
from autogpt_server.executor.memory import MemoryWatch
from autogpt_server.executor.node_executor import NodeExecutor
from autogpt_server.executor.node_outputs import OutputLimits
from autogpt_server.executor.running_nodes import RunningNodes
from autogpt_server.executor.side_processes import SideProcesses
from autogpt_server.executor.signs_of_life import SignsOfLife, marks_path
from autogpt_server.executor.sub_graphs import SubGraphs
from autogpt_server.executor.submit import Submitter
from autogpt_server.executor.user_files import UserFiles
from autogpt_server.files.files import Files, UserStorage
from autogpt_server.logs import bound_contextvars
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.clock import now_ms
from autogpt_server.model.ids import id_ms
from autogpt_server.service.crash_points import crash_point
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.measures import CLAIM_LAG
from autogpt_server.telemetry.traces import open_sender

if TYPE_CHECKING:
    from autogpt_server.executor.tracing import Tracing

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

#: Executions claimed at once: few at first, so that several processes share a short queue, and more each time as long
#: as a claim is filled.
_FIRST_CLAIM, _LARGEST_CLAIM = 16, 256
#: Seconds between looks at the queue when no nudge comes.
_POLL_SECONDS = 1.0
#: One in so many places of a process is kept for users of whom nothing runs there, so that they need not wait until
#: somebody else's executions end; and seconds between two looks for them while all other places are taken.
_ONE_KEPT_IN, _KEPT_SECONDS = 16, 0.1
#: Seconds after which a process looks at the queue when another one was nudged to do so at once.
_LATER_SECONDS = 0.003
#: Users whose folders' places are kept in memory.
_MOST_USERS = 10_000
#: Threads for beats, claims and looks at the queue.
_CONTROL_THREADS = 3
#: Threads in which blocking blocks of one process run.
_THREADS = 64


def _tell(drafting: Drafting, metered: Metered[Record, bool], tracing: Tracing | None, records: list[Record]) -> None:
    crash_point("record.committed")
    drafting.tell_durable({record.execution_id for record in records})
    results = metered.committed(records)
    if tracing is not None:
        tracing.take(record for record, is_written in zip(records, results, strict=True) if is_written)


def _count_claim(claimed: list[Claimed]) -> None:
    # Later claims say how long an attempt lasted, not how long somebody waited for a start.
    now = now_ms()
    counting.observe(CLAIM_LAG, [(now - id_ms(one.id)) / 1000 for one in claimed if one.attempt == 1])


def _open_tracing(settings: Settings, database: Database) -> Tracing | None:
    sender = open_sender(settings)
    if sender is None:
        return None
    # Here: it takes OpenTelemetry in, which those who send no traces need not pay for.
    from autogpt_server.executor.tracing import Tracing

    return Tracing(sender, database)


class Worker:
    """One executor process's work.

    Args:
        settings: Of the server.
        registry: The blocks it can run.
        database: For everything it reads and writes.
        quarantine: Runs only executions during which a process died, one at a time, and ends when none is left.
    """

    def __init__(self, settings: Settings, registry: BlockRegistry, database: Database, *, quarantine: bool) -> None:
        self._settings, self._db, self._quarantine = settings, database, quarantine
        self._queue = ExecutionQueue(database, settings.max_concurrent_per_user)
        self._leases, self._executions = Leases(database), Executions(database)
        self._registry = registry
        self._graphs = CompiledGraphs(database, registry)
        self._networks = parse_networks(settings.allowed_networks)
        self._stored_files = Files(settings, database)
        self._credentials = CredentialStore(settings, database)
        self._limits = ExecutionLimits(settings.max_node_executions, settings.execution_timeout_seconds)
        self._nudger = Nudger(settings.run_dir)
        self._user_files: dict[str, UserFiles] = {}
        self._active: dict[str, GraphExecutor] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._is_waking_later = False
        #: This process was nudged to claim something that was just accepted.
        self._expects_some = False
        #: Something that runs here was asked to stop or pause.
        self._is_asked = False
        self._stopping = asyncio.Event()
        self._lease_is_lost = False
        #: RUNNING under our lease by their rows alone, when they were compared last.
        self._strays: set[str] = set()
        #: There was no room when this process last wanted to claim.
        self._was_full = False
        self._kept_places = 0 if quarantine else settings.executor_concurrency // _ONE_KEPT_IN
        self._next_kept_look = 0.0
        self._control = ThreadPoolExecutor(_CONTROL_THREADS, thread_name_prefix="control")

    async def run(self, ready: Callable[[Lease], None]) -> bool:
        """Work until ``stop``, or until this process is to be replaced.

        Args:
            ready: Called with the lease once the first claim is about to be made.

        Returns:
            Whether the process must end at once, because a thread of it never will.
        """
        run_folder = open_run_folder(self._settings)
        nudger = self._nudger
        lease = await self._patiently(lambda: self._in_control(self._leases.register, machine_name(), os.getpid()))
        tracing = _open_tracing(self._settings, self._db)
        drafting = Drafting(nudger, lease.id)
        metered = Metered("record", recorder(self._db, lease, drafting.send), count_records)
        committer = GroupCommitter[Record, bool](
            self._db,
            metered.write,
            owner=lambda record: record.execution_id,
            patience=None,
            on_lease_lost=self._lose_lease,
            on_committed=lambda records: _tell(drafting, metered, tracing, records),
        )
        submitter = Submitter(self._settings, self._db)
        sub_graphs = SubGraphs(submitter, self._executions, self._settings.max_depth, run_folder)
        nudges = NudgeReceiver(run_folder, Topic.QUEUE, f"executor-{os.getpid()}")
        requests = NudgeReceiver(run_folder, Topic.CONTROL, f"executor-{os.getpid()}")
        sides = SideProcesses(self._settings)
        nodes = NodeExecutor(
            _THREADS,
            RunningNodes(marks_path(self._settings, os.getpid())),
            OutputLimits(self._settings.max_node_outputs, self._settings.max_node_output_bytes),
            self._settings.node_timeout_seconds,
            MemoryWatch(self._settings.executor_memory_mb, runs_alone=self._quarantine),
            sides,
        )
        offering = Offering(run_folder, nudger, lease.id, lease.epoch)

        def has_room() -> bool:
            is_ending = self._stopping.is_set() or self._quarantine or nodes.stuck_runs > 0
            return self._free(sub_graphs) > self._kept_places and not is_ending

        def offer() -> None:
            if has_room():
                offering.offer()

        def start(one: Claimed) -> None:
            self._start(one, lease, committer, sub_graphs, nodes, offer)

        await offering.open(lambda text: self._take_over(text, lease, start, has_room))
        await nudges.open(self._hear_of_queue)
        await requests.open(self._hear_of_requests)
        signs = SignsOfLife(self._settings, self._db, lease, self._in_control, self._lose_lease)
        ready(lease)
        try:
            with kept_block_output():
                await self._claim_until_stopped(lease, start, sub_graphs, nodes, offer)
                offering.withdraw()
                await self._drain(lease, committer)
        finally:
            await signs.end()
            nudges.close()
            requests.close()
            offering.close()
            await sides.close()
            await sub_graphs.close()
            await self._credentials.close()
            await submitter.close()
            await committer.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
            nudger.close()
            nodes.close()
        if not self._lease_is_lost:
            await self._in_control(self._leases.end, lease)
        return nodes.stuck_runs > 0

    def stop(self) -> None:
        """Claim no more; ``run`` returns when what runs has ended or was handed back."""
        self._stopping.set()
        self._wake.set()

    def _hear_of_queue(self, words: list[str]) -> None:
        if LATER not in words:
            self._expects_some = not self._quarantine
            self._wake.set()
        elif not self._is_waking_later:
            self._is_waking_later = True
            asyncio.get_running_loop().call_later(_LATER_SECONDS, self._wake_later)

    def _wake_later(self) -> None:
        self._is_waking_later = False
        self._wake.set()

    def _hear_of_requests(self, execution_ids: list[str]) -> None:
        if not self._active.keys().isdisjoint(execution_ids):
            self._is_asked = True
            self._wake.set()

    def _lose_lease(self) -> None:
        log.error("the lease is lost: another process has taken this executor's work over")
        self._lease_is_lost = True
        self.stop()

    def _free(self, sub_graphs: SubGraphs) -> int:
        """How many executions more may run here."""
        concurrency = 1 if self._quarantine else self._settings.executor_concurrency
        return concurrency - (len(self._active) - sub_graphs.waiting_executions)

    def _take_over(
        self, text: bytes, lease: Lease, start: Callable[[Claimed], None], has_room: Callable[[], bool]
    ) -> None:
        """Start what was claimed for us with its acceptance; or hand it back, where there is no room any more."""
        one = handed.unpack(text)
        if one is None or one.id in self._active:
            return
        crash_point("handover.heard")
        if has_room():
            start(one)
        else:
            self._in_background(self._hand_back(lease, one.id))
        _count_claim([one])

    async def _claim_until_stopped(
        self,
        lease: Lease,
        start: Callable[[Claimed], None],
        sub_graphs: SubGraphs,
        nodes: NodeExecutor,
        offer: Callable[[], None],
    ) -> None:
        next_comparison, claim_size = 0.0, _FIRST_CLAIM
        while not self._stopping.is_set():
            self._wake.clear()
            if nodes.stuck_runs:
                self.stop()
                return
            free = min(self._free(sub_graphs) - self._kept_places, claim_size)
            self._was_full = free <= 0
            expects_some, self._expects_some = self._expects_some, False
            if free > 0:
                claimed = await self._claim(lease, free, expects_some)
            else:
                claimed = await self._claim_for_others(lease, self._free(sub_graphs))
            for one in claimed:
                start(one)
            if self._quarantine and not self._active:
                return
            is_more_waiting = bool(claimed) and len(claimed) == free
            claim_size = min(claim_size * 2, _LARGEST_CLAIM) if is_more_waiting else _FIRST_CLAIM
            if self._is_asked or time.monotonic() >= next_comparison:
                self._is_asked = False
                await self._compare_with_rows(lease)
                next_comparison = time.monotonic() + _POLL_SECONDS
            if is_more_waiting:
                # Let what was claimed get going first.
                await asyncio.sleep(0)
            else:
                offer()
                await self._wait_for_nudge()

    async def _claim_for_others(self, lease: Lease, free: int) -> list[Claimed]:
        """Claim into the places that are kept for users of whom nothing runs here: one for each."""
        if not self._kept_places or free <= 0 or time.monotonic() < self._next_kept_look:
            return []
        claimed = await self._claim(lease, 1, False, {executor.user_id for executor in self._active.values()})
        if claimed:
            # Perhaps somebody else waits as well.
            self._wake.set()
        else:
            self._next_kept_look = time.monotonic() + _KEPT_SECONDS
        return claimed

    async def _claim(
        self, lease: Lease, limit: int, expects_some: bool, without: Collection[str] = ()
    ) -> list[Claimed]:
        try:
            claimed = await self._in_control(
                self._queue.claim, lease, limit, suspects=self._quarantine, expects_some=expects_some, without=without
            )
            if claimed:
                _count_claim(claimed)
            return claimed
        except LeaseLost:
            self._lose_lease()
        except Unavailable as error:
            log.warning("cannot claim, trying again: %s", error)
        return []

    def _start(
        self,
        claimed: Claimed,
        lease: Lease,
        committer: GroupCommitter[Record, bool],
        sub_graphs: SubGraphs,
        nodes: NodeExecutor,
        offer: Callable[[], None],
    ) -> None:
        scope = ExecutionScope(
            user_id=claimed.user_id,
            execution_id=claimed.id,
            depth=claimed.depth,
            files=self._files(claimed.user_id),
            sub_graphs=sub_graphs,
            max_log_bytes=self._settings.max_node_log_bytes,
            allowed_networks=self._networks,
            storage=UserStorage(self._stored_files, claimed.user_id, self._settings.max_file_bytes),
            credentials=self._credentials,
        )
        executor = GraphExecutor(claimed, scope, self._graphs, self._db, committer, nodes, self._limits)
        self._active[claimed.id] = executor
        with bound_contextvars(execution_id=claimed.id):
            self._in_background(self._execute(lease, claimed, executor, offer))

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _files(self, user_id: str) -> UserFiles:
        files = self._user_files.get(user_id)
        if files is None:
            if len(self._user_files) >= _MOST_USERS:
                self._user_files.clear()
            files = UserFiles(self._settings.files_dir / user_id, self._settings.max_file_bytes)
            self._user_files[user_id] = files
        return files

    async def _execute(
        self, lease: Lease, claimed: Claimed, executor: GraphExecutor, offer: Callable[[], None]
    ) -> None:
        try:
            if await executor.run():
                await self._hand_back(lease, claimed.id)
        except asyncio.CancelledError:
            raise
        except MemoryError:
            # Somebody else's leak may be the reason: what ran is run again, and whatever leaks alone.
            os._exit(OUT_OF_MEMORY)
        except Exception:
            # One execution must not end the process that runs the others, and must not stay RUNNING without a run.
            log.exception("the run of an execution broke off; it is handed back")
            await asyncio.sleep(_POLL_SECONDS)
            await self._hand_back(lease, claimed.id)
        finally:
            # What was handed back may already have been claimed again, by us.
            if self._active.get(claimed.id) is executor:
                del self._active[claimed.id]
            if claimed.is_handed and not self._was_full:
                # Nothing waited when it came, and whatever came since was told of and had room.
                offer()
            else:
                self._wake.set()

    async def _hand_back(self, lease: Lease, execution_id: str) -> None:
        try:
            await self._patiently(lambda: self._in_control(self._queue.hand_back, lease, [execution_id]))
            self._nudger.send(Topic.CHANGES, [execution_id])
        except LeaseLost:
            self._lose_lease()

    async def _compare_with_rows(self, lease: Lease) -> None:
        """Tell the running executions what they were asked for, and hand back what is ours only by its row.

        A claim whose answer was lost leaves such rows.
        """
        active = dict(self._active)
        try:
            rows = await self._in_control(self._queue.running, lease)
            for execution_id in active:
                if execution_id in rows:
                    active[execution_id].pause(rows[execution_id].pause)
                    if rows[execution_id].stop:
                        active[execution_id].stop()
            # Twice: what was claimed for us with its acceptance may be on its way.
            missing = rows.keys() - active.keys() - self._active.keys()
            strays = sorted(missing & self._strays)
            self._strays = missing
            if strays:
                log.warning("handing %d executions back that were claimed without our knowing", len(strays))
                await self._in_control(self._queue.hand_back, lease, strays)
        except LeaseLost:
            self._lose_lease()
        except Unavailable as error:
            log.warning("cannot look at what runs, trying again: %s", error)

    async def _in_control(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread that nothing else keeps busy: beats and claims must not wait for slow names or files."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._control, functools.partial(call, *args, **kwargs))

    async def _wait_for_nudge(self) -> None:
        seconds = _KEPT_SECONDS if self._was_full and self._kept_places else _POLL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _drain(self, lease: Lease, committer: GroupCommitter[Record, bool]) -> None:
        """Let what runs end for a while, then hand the rest back."""
        if self._tasks and not self._lease_is_lost:
            await asyncio.wait(self._tasks, timeout=self._settings.drain_seconds)
        left = list(self._active)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await committer.close()
        if left and not self._lease_is_lost:
            log.info("handing %d executions back", len(left))
            await self._in_control(self._queue.hand_back, lease, left)

    @staticmethod
    async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except Unavailable as error:
                log.warning("the database is away, trying again: %s", error)
                await asyncio.sleep(_POLL_SECONDS)
