"""The status machine, pauses, limits, leases and rescues: random histories, each step compared with a small model."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from autogpt_server.data.commit import LeaseLost
from autogpt_server.data.controls import Controls
from autogpt_server.data.database import Database
from autogpt_server.data.leases import Lease, Leases, Suspect
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.queue import ExecutionQueue, NewExecution
from autogpt_server.data.queue_depth import read_queue_depth
from autogpt_server.data.records import Ending, Record, recorder
from autogpt_server.errors import ConflictError
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import new_id
from tests.data.queue_model import FINAL, MAX_DEATHS, ORDINARY, Execution, Model
from tests.make_graph import make_graph, node_id, store_graph
from tests.odd_blocks import RecordingBlock

REGISTRY = BlockRegistry([RecordingBlock])
USERS = ("00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b")
#: Executions of the limited graph that may run at the same time.
LIMIT = 2

some = st.integers(0, 1_000)


def ended_as(one: Execution, status: str) -> str:
    """What fails although it was asked to stop has been stopped."""
    return "TERMINATED" if status == "FAILED" and one.stop else status


class QueueMachine(RuleBasedStateMachine):
    """Drives the tables and the model side by side."""

    database: Database
    graphs: dict[str, str]

    @initialize()
    def begin(self) -> None:
        with self.database.write() as c:
            for table in ("AgentNodeExecution", "AgentGraphExecution", "Executor"):
                c.execute(f'DELETE FROM "{table}"')
        self.model = Model()
        self.queue, self.leases = ExecutionQueue(self.database), Leases(self.database)
        self.controls = Controls(self.database)
        self.living: list[Lease] = []
        self.dead: list[Lease] = []
        self.keys: dict[str, str] = {}
        self.revisions: dict[str, int] = {}
        self.final: dict[str, str] = {}
        self.start_executor()

    # What users do

    @rule(user=st.sampled_from(USERS), is_limited=st.booleans(), priority=st.integers(-1, 1), count=st.integers(1, 3))
    def submit(self, user: str, is_limited: bool, priority: int, count: int) -> None:
        graph_id = self.graphs[user]
        lane, limit = (graph_id, LIMIT) if is_limited else (ORDINARY, 0)
        batch = [
            NewExecution(new_id(), graph_id, 1, user, "{}", lane=lane, lane_limit=limit, priority=priority)
            for _ in range(count)
        ]
        with self.database.write() as c:
            self.queue.accept(c, [batch])
        for one in batch:
            self.model.executions[one.id] = Execution(one.id, user, lane, lane, limit, priority)

    @rule(user=st.sampled_from(USERS), key=st.sampled_from(["k1", "k2"]))
    def submit_with_key(self, user: str, key: str) -> None:
        one = NewExecution(new_id(), self.graphs[user], 1, user, "{}", idempotency_key=f"{user}{key}")
        with self.database.write() as c:
            (((id_, _),),) = self.queue.accept(c, [[one]])
        first = self.keys.setdefault(f"{user}{key}", id_)
        assert id_ == first
        if id_ == one.id:
            self.model.executions[id_] = Execution(id_, user, ORDINARY, ORDINARY, 0, 0)

    @rule(user=st.sampled_from(USERS), which=some, is_alive=st.booleans())
    def submit_to_an_idle_executor(self, user: str, which: int, is_alive: bool) -> None:
        leases = self.living if is_alive else self.dead
        if not leases:
            return
        lease, one = self.pick(leases, which), NewExecution(new_id(), self.graphs[user], 1, user, "{}")
        is_alone = not [e for e in self.model.executions.values() if e.status == "QUEUED"]
        with self.database.write() as c:
            self.queue.accept(c, [[one]])
            is_handed = self.queue.hand_over(c, lease, one.id)
        self.model.executions[one.id] = Execution(one.id, user, ORDINARY, ORDINARY, 0, 0)
        assert is_handed == (is_alive and is_alone)
        if is_handed:
            self.model.claim(lease.id, one.id)

    @precondition(lambda self: self.model.executions)
    @rule(which=some, what=st.sampled_from(["stop", "pause", "resume"]))
    def control(self, which: int, what: str) -> None:
        one = self.pick(list(self.model.executions.values()), which)
        is_refused = self.expected_refusal(one, what)
        try:
            getattr(self.controls, what)(one.user, one.id)
        except ConflictError:
            assert is_refused, f"{what} of {one} was refused"
            return
        assert not is_refused, f"{what} of {one} was not refused"
        match what, one.status:
            case "stop", "RUNNING":
                one.stop = True
            case "stop", "QUEUED" | "PAUSED":
                one.stop = True
                one.end("TERMINATED")
            case "pause", "QUEUED":
                one.status, one.pause = "PAUSED", True
            case "pause", "RUNNING":
                one.pause = True
            case "resume", "PAUSED":
                one.status, one.pause = "QUEUED", False
            case "resume", "RUNNING":
                one.pause = False
            case _:
                pass

    @staticmethod
    def expected_refusal(one: Execution, what: str) -> bool:
        if what == "stop":
            return False
        return one.is_final or (what == "pause" and one.status == "RUNNING" and one.stop)

    # What executors do

    @rule()
    def start_executor(self) -> None:
        self.living.append(self.leases.register("here", 1))

    @precondition(lambda self: self.living)
    @rule(which=some, limit=st.integers(1, 4), suspects=st.booleans(), expects=st.booleans())
    def claim(self, which: int, limit: int, suspects: bool, expects: bool) -> None:
        lease = self.pick(self.living, which)
        claimed = self.queue.claim(lease, limit, suspects=suspects, expects_some=expects)
        could = [e for e in self.model.waiting(suspects=suspects) if self.model.may_start(e)]
        assert len(claimed) <= limit
        # In the order of the answer each is the first of its line; users take turns, which is tested elsewhere.
        for one in sorted(claimed, key=lambda c: (-self.model.executions[c.id].priority, c.id)):
            self.model.claim(lease.id, one.id)
            assert one.attempt == self.model.executions[one.id].attempt
        assert bool(claimed) or not could, f"nothing was claimed of {could}"

    @precondition(lambda self: self.running())
    @rule(which=some, ordinal=st.integers(0, 3), ends=st.booleans())
    def record_node(self, which: int, ordinal: int, ends: bool) -> None:
        one = self.pick(self.running(), which)
        if ordinal in one.ended:
            return
        assert self.record(self.lease_of(one), one, [self.row(one, ordinal, ends=ends)], None) == [True]
        if ends:
            one.running = [n for n in one.running if n != ordinal]
            one.ended.append(ordinal)
        elif ordinal not in one.running:
            one.running.append(ordinal)

    @precondition(lambda self: self.running())
    @rule(which=some, status=st.sampled_from(FINAL))
    def finish(self, which: int, status: str) -> None:
        one = self.pick(self.running(), which)
        rows = [self.row(one, ordinal, ends=True) for ordinal in one.running] if status == "COMPLETED" else []
        for row in rows:
            one.ended.append(int(row.id.rpartition(".")[2]))
            row.sequence = len(one.ended)
        if status == "COMPLETED":
            one.running = []
        assert self.record(self.lease_of(one), one, rows, status) == [True]
        one.end(ended_as(one, status))

    @precondition(lambda self: self.running())
    @rule(which=some)
    def hand_back(self, which: int) -> None:
        one = self.pick(self.running(), which)
        self.queue.hand_back(self.lease_of(one), [one.id])
        one.leave()

    @precondition(lambda self: self.living)
    @rule(which=some)
    def end_executor(self, which: int) -> None:
        lease = self.pick(self.living, which)
        self.living.remove(lease)
        self.leases.end(lease)
        for one in self.model.of(lease.id):
            one.leave()
        self.dead.append(lease)

    # What goes wrong

    @precondition(lambda self: self.living)
    @rule(which=some, chance=st.randoms(use_true_random=False))
    def die(self, which: int, chance: Any) -> None:
        lease = self.pick(self.living, which)
        self.living.remove(lease)
        self.dead.append(lease)
        suspects = {one.id for one in self.model.of(lease.id) if chance.random() < 0.5}
        marks = [Suspect(f"{id_}.0", node_id("a"), "RecordingBlock") for id_ in sorted(suspects)]
        self.leases.rescue(lease, marks, max_deaths=MAX_DEATHS, reason="killed")
        for id_ in suspects:
            one = self.model.executions[id_]
            if one.deaths + 1 >= MAX_DEATHS and 0 not in (*one.running, *one.ended):
                # Its row is made, so that there is something to show the reason.
                one.running.append(0)
        if not suspects:
            # Unmarked deaths of what was started very often are blamed on it.
            suspects = {one.id for one in self.model.of(lease.id) if one.attempt >= 5}
        self.model.rescue(lease.id, suspects)
        # Whoever sees the death a second time changes nothing.
        assert self.leases.rescue(lease, marks, max_deaths=MAX_DEATHS, reason="again").requeued == 0

    @precondition(lambda self: self.dead and self.model.executions)
    @rule(which=some, other=some, ending=st.none() | st.sampled_from(FINAL))
    def wake_up_too_late(self, which: int, other: int, ending: str | None) -> None:
        """A process that was taken for dead goes on and writes."""
        lease, one = self.pick(self.dead, which), self.pick(list(self.model.executions.values()), other)
        with pytest.raises(LeaseLost):
            self.record(lease, one, [self.row(one, 3, ends=True)], ending)
        with pytest.raises(LeaseLost):
            self.queue.hand_back(lease, [one.id])
        if self.model.waiting(suspects=False):
            with pytest.raises(LeaseLost):
                self.queue.claim(lease, 1, expects_some=True)

    @precondition(lambda self: self.living and self.model.executions)
    @rule(which=some, other=some, ending=st.none() | st.sampled_from(FINAL))
    def write_what_is_not_ours(self, which: int, other: int, ending: str | None) -> None:
        """A living executor writes about an execution that it lost, or has not yet got back."""
        lease, one = self.pick(self.living, which), self.pick(list(self.model.executions.values()), other)
        attempt = one.attempt - 1 if one.executor == lease.id and one.status == "RUNNING" else one.attempt
        if one.is_final and ending is not None and ended_as(one, ending) == one.status and one.executor == lease.id:
            return  # its own end once more, which is harmless
        assert self.record(lease, one, [self.row(one, 3, ends=True)], ending, attempt=attempt) == [False]

    @invariant()
    def tables_say_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        with self.database.read() as c:
            rows = c.execute(
                'SELECT "id","status","attempt","deaths","lane","revision","stopRequestedAt","pauseRequestedAt",'
                '"endedAt" FROM "AgentGraphExecution"'
            ).all()
            nodes = c.execute('SELECT "agentGraphExecutionId","sequence","status" FROM "AgentNodeExecution"').all()
        assert {row[0] for row in rows} == set(self.model.executions)
        for id_, status, attempt, deaths, lane, revision, stop, pause, ended_at in rows:
            one = self.model.executions[id_]
            assert (status, attempt, deaths, lane) == (one.status, one.attempt, one.deaths, one.lane)
            assert (ended_at is not None) == one.is_final
            if not one.is_final:
                assert (stop is not None, pause is not None) == (one.stop, one.pause)
            assert revision >= self.revisions.get(id_, 0), "a revision went back"
            self.revisions[id_] = revision
            assert self.final.setdefault(id_, status) == status if one.is_final else id_ not in self.final
            mine = [node for node in nodes if node[0] == id_]
            sequences = sorted(sequence for _, sequence, _ in mine if sequence is not None)
            assert sequences == list(range(1, len(one.ended) + 1))
            assert sum(sequence is None for _, sequence, _ in mine) == len(one.running)
            if one.is_final:
                assert all(node_status in FINAL for _, _, node_status in mine)

    @invariant()
    def the_queue_is_as_deep_as_it_seems(self) -> None:
        if hasattr(self, "model"):
            depth = read_queue_depth(self.database).by_status
            for status, count in depth.items():
                assert count == sum(e.status == status for e in self.model.executions.values())

    # Small things

    @staticmethod
    def pick(choices: list[Any], which: int) -> Any:
        return choices[which % len(choices)]

    def running(self) -> list[Execution]:
        return [e for e in self.model.executions.values() if e.status == "RUNNING"]

    def lease_of(self, one: Execution) -> Lease:
        return next(lease for lease in self.living if lease.id == one.executor)

    @staticmethod
    def row(one: Execution, ordinal: int, *, ends: bool) -> NodeRow:
        now = now_ms()
        status = ExecutionStatus.COMPLETED if ends else ExecutionStatus.RUNNING
        row = NodeRow(f"{one.id}.{ordinal}", node_id("a"), status, "{}", max(1, one.attempt), now, now)
        if ends:
            row.sequence, row.outputs, row.ended_ms = len(one.ended) + 1, "[]", now
        return row

    def record(
        self, lease: Lease, one: Execution, rows: list[NodeRow], ending: str | None, attempt: int | None = None
    ) -> list[bool]:
        end = None if ending is None else Ending(ExecutionStatus(ending), "{}", "{}", None)
        record = Record(one.id, one.attempt if attempt is None else attempt, rows, end)
        with self.database.write() as c:
            return recorder(self.database, lease)(c, [record])


@pytest.mark.timeout(180)
def test_every_history_agrees_with_the_model(database: Database) -> None:
    graphs: dict[str, str] = {}
    for user in USERS:
        graph = make_graph(REGISTRY, {"a": ("RecordingBlock", {})})
        store_graph(database, REGISTRY, graph, user)
        graphs[user] = graph.id
    machine = type("Machine", (QueueMachine,), {"database": database, "graphs": graphs})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
