"""One executor's work, on both databases: how executions end, what is recorded, and what resumes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from autogpt_server.data.graph_versions import load_version
from autogpt_server.data.queue import ExecutionQueue
from autogpt_server.data.records import Record, recorder
from autogpt_server.errors import GraphNotFound, InvalidError, Unavailable
from autogpt_server.executor import compiled_graphs
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from tests.executor.conftest import Bench
from tests.make_graph import make_graph, node_id, store_graph

COMPLETED, FAILED, TERMINATED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.TERMINATED


async def test_two_values_are_combined_and_every_node_is_recorded(running: Bench) -> None:
    execution = await running.execute(
        {
            "one": ("ValueBlock", {"input": "Hello"}),
            "two": ("ValueBlock", {"input": "World"}),
            "both": ("TextCombinerBlock", {"format": "{text1}, {text2}!"}),
            "print": ("PrintToConsoleBlock", {}),
            "out": ("AgentOutputBlock", {"name": "text"}),
        },
        [
            "one.output -> both.text1",
            "two.output -> both.text2",
            "both.combined_text -> print.text",
            "both.combined_text -> out.value",
        ],
    )
    assert (execution.status, execution.error) == (COMPLETED, None)
    assert execution.outputs == {"text": ["Hello, World!"]}
    nodes = running.nodes(execution)
    assert [n.sequence for n in nodes] == [1, 2, 3, 4, 5]
    assert {n.status for n in nodes} == {COMPLETED}
    printed = next(n for n in nodes if n.node_id == node_id("print"))
    assert printed.input_data["text"] == "Hello, World!"
    assert ("status", "printed") in printed.output_data
    assert execution.started_at and execution.ended_at and execution.started_at <= execution.ended_at


@pytest.mark.parametrize(
    ("block", "inputs", "message"),
    [
        ("RaiseErrorBlock", {"message": "out of paper"}, "out of paper"),
        ("UnknownPinBlock", {}, "unknown pin 'nowhere'"),
        ("WrongTypeBlock", {}, "wrong value on pin 'value'"),
        ("UnstorableBlock", {"kind": "nul"}, "NUL"),
        ("UnstorableBlock", {"kind": "surrogate"}, "lone surrogate"),
        ("UnstorableBlock", {"kind": "nan"}, "nan is no JSON number"),
        ("UnstorableBlock", {"kind": "object"}, "no JSON form"),
        ("UnstorableBlock", {"kind": "error"}, "RuntimeError: bad"),
        ("SysExitBlock", {}, "sys.exit"),
        ("EndlessAsyncBlock", {}, "longer than its limit of 0.2 s"),
        ("ManyBlock", {"count": 100_001}, "more than 100,000 values"),
    ],
)
async def test_a_misbehaving_block_fails_its_node_with_the_reason_and_nothing_else(
    running: Bench, block: str, inputs: dict[str, Any], message: str
) -> None:
    execution = await running.execute(
        {"bad": (block, inputs), "good": ("ValueBlock", {"input": 1}), "out": ("AgentOutputBlock", {"name": "good"})},
        ["good.output -> out.value"],
    )
    assert execution.status is FAILED
    assert message in (execution.error or "")
    assert execution.outputs == {"good": [1]}
    bad = next(n for n in running.nodes(execution) if n.node_id == node_id("bad"))
    assert bad.status is FAILED
    assert message in (bad.error or "")


@pytest.mark.parametrize("block", ["RaisingInlineBlock", "RaisingInThreadBlock", "RaisingAsyncBlock"])
@pytest.mark.parametrize("kind", ["interrupt", "generator", "cancelled", "base", "stop"])
async def test_whatever_a_block_raises_fails_its_node_alone(running: Bench, block: str, kind: str) -> None:
    execution = await running.execute(
        {
            "bad": (block, {"kind": kind}),
            "good": ("RecordingBlock", {"value": 1}),
            "out": ("AgentOutputBlock", {"name": "n"}),
        },
        ["good.value -> out.value"],
    )
    assert (execution.status, execution.attempt, execution.outputs) == (FAILED, 1, {"n": [1]})
    assert node_id("bad") in (execution.error or "")


async def test_a_task_that_goes_on_when_cancelled_fails_at_its_limit(bench: Bench) -> None:
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    execution = await bench.execute({"stubborn": ("StubbornAsyncBlock", {})})
    assert execution.status is FAILED
    assert "longer than its limit of 0.2 s" in (execution.error or "")
    # Its process is to be replaced: the worker ends by itself and says so.
    assert await asyncio.wait_for(task, 20) is True


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "too late"])
async def test_what_a_node_executes_stops_with_it(
    bench: Bench, is_stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor_block = bench.registry.get("AgentExecutorBlock")
    if not is_stopped:
        monkeypatch.setattr(type(executor_block), "timeout", timedelta(seconds=0.3))
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    inner = bench.store({"wait": ("WaitBlock", {"seconds": 600})})
    outer_id = await bench.submit(bench.store({"call": ("AgentExecutorBlock", {"graph_id": inner.id})}))
    children = await bench.until(lambda: bench.executions.list(DEFAULT_USER_ID, inner.id, limit=5, cursor=None).items)
    if is_stopped:
        await bench.submitter.stop(DEFAULT_USER_ID, outer_id)
    outer, child = await bench.ended(outer_id), await bench.ended(children[0].id)
    assert outer.status is (TERMINATED if is_stopped else FAILED)
    assert child.status is TERMINATED
    worker.stop()
    await asyncio.wait_for(task, 20)


async def test_a_claim_whose_answer_was_lost_is_handed_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = ExecutionQueue.claim
    claims: list[int] = []

    def losing(self: ExecutionQueue, *args: Any, **more: Any) -> Any:
        claimed = claim(self, *args, **more)
        if claimed and not claims:
            claims.append(1)
            raise Unavailable("the answer was lost")
        return claimed

    monkeypatch.setattr(ExecutionQueue, "claim", losing)
    execution_id = await bench.submit(bench.store({"out": ("AgentOutputBlock", {"name": "n", "value": 1})}))
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    execution = await bench.ended(execution_id)
    worker.stop()
    await asyncio.wait_for(task, 20)
    assert (execution.status, execution.attempt) == (COMPLETED, 2)


async def test_a_failure_whose_error_pin_is_linked_is_handled(running: Bench) -> None:
    execution = await running.execute(
        {"bad": ("RaiseErrorBlock", {"message": "no"}), "out": ("AgentOutputBlock", {"name": "problem"})},
        ["bad.error -> out.value"],
    )
    assert execution.status is COMPLETED
    assert execution.outputs == {"problem": ["no"]}


async def test_a_hundred_thousand_values_are_recorded_whole(running: Bench) -> None:
    execution = await running.execute({"many": ("ManyBlock", {"count": 100_000})})
    assert execution.status is COMPLETED
    (node,) = running.nodes(execution)
    assert len(node.output_data) == 100_000
    assert node.output_data[-1] == ("value", 99_999)


async def test_a_loop_that_never_ends_stops_at_the_limit_of_node_executions(bench: Bench) -> None:
    worker = bench.worker(drain_seconds=0, max_node_executions=50)
    task = asyncio.create_task(worker.run(lambda lease: None))
    execution = await bench.execute(
        {"start": ("ValueBlock", {"input": 0}), "loop": ("CalculatorBlock", {"operation": "Add", "b": 1})},
        ["start.output -> loop.a", "loop.result -> loop.a"],
    )
    assert execution.status is FAILED
    assert "50" in (execution.error or "")
    worker.stop()
    await asyncio.wait_for(task, 20)


async def test_inputs_that_do_not_fit_are_refused_and_nothing_is_stored(running: Bench) -> None:
    graph = running.store({"in": ("AgentInputBlock", {"name": "count"})})
    for inputs in ({}, {"cuont": 1}, {"count": "a\0b"}):
        with pytest.raises(InvalidError) as refused:
            await running.submit(graph, inputs)
        assert refused.value.problems
    with pytest.raises(GraphNotFound):
        await running.submitter.submit("somebody else", graph.id, {"count": 1})
    with pytest.raises(GraphNotFound):
        await running.submitter.submit(DEFAULT_USER_ID, new_id(), {})
    with pytest.raises(InvalidError) as refused:
        await running.submitter.submit_batch(DEFAULT_USER_ID, graph.id, [{"count": 1}, {}])
    assert refused.value.problems[0].path.startswith("inputs[1]")
    assert running.executions.list(DEFAULT_USER_ID, None, limit=10, cursor=None).items == []


async def test_a_batch_is_accepted_in_order_and_all_of_it_runs(running: Bench) -> None:
    graph = running.store(
        {"in": ("AgentInputBlock", {"name": "n"}), "out": ("AgentOutputBlock", {"name": "n"})},
        ["in.result -> out.value"],
    )
    ids = await running.submitter.submit_batch(DEFAULT_USER_ID, graph.id, [{"n": i} for i in range(200)])
    ended = [await running.ended(execution_id) for execution_id in ids]
    assert [e.outputs for e in ended] == [{"n": [i]} for i in range(200)]


async def test_a_running_execution_stops_on_request_and_keeps_what_it_recorded(running: Bench) -> None:
    execution_id = await running.submit(
        running.store(
            {
                "before": ("RecordingBlock", {"value": 1}),
                "wait": ("WaitBlock", {"seconds": 600}),
                "never": ("RecordingBlock", {}),
            },
        )
    )
    await running.until(lambda: len(running.nodes(execution_id)) == 3 and running.nodes(execution_id)[0].sequence)
    await running.submitter.stop(DEFAULT_USER_ID, execution_id)
    execution = await running.ended(execution_id)
    assert execution.status is TERMINATED
    by_node = {n.node_id: n.status for n in running.nodes(execution_id)}
    assert by_node[node_id("before")] is COMPLETED
    assert by_node[node_id("wait")] is TERMINATED


async def test_what_a_stopping_worker_hands_back_resumes_without_running_its_ended_nodes_again(bench: Bench) -> None:
    graph = bench.store(
        {"first": ("RecordingBlock", {"value": 1}), "gate": ("PidBlock", {}), "last": ("RecordingBlock", {})},
        ["first.value -> gate.value", "gate.value -> last.value"],
    )
    one = bench.worker(drain_seconds=0)
    task = asyncio.create_task(one.run(lambda lease: None))
    execution_id = await bench.submit(graph)
    await bench.until(lambda: any(n.node_id == node_id("gate") for n in bench.nodes(execution_id)))
    one.stop()
    await asyncio.wait_for(task, 20)
    assert bench.executions.get(DEFAULT_USER_ID, execution_id).status is ExecutionStatus.QUEUED

    folder = bench.settings.files_dir / DEFAULT_USER_ID
    (folder / "go").write_text("")
    two = bench.worker(drain_seconds=0)
    task = asyncio.create_task(two.run(lambda lease: None))
    execution = await bench.ended(execution_id)
    two.stop()
    await asyncio.wait_for(task, 20)

    assert (execution.status, execution.attempt) == (COMPLETED, 2)
    assert [n.attempt for n in bench.nodes(execution_id)] == [1, 2, 2]
    assert (folder / "runs.txt").read_text().split() == [f"{execution_id}.0", f"{execution_id}.2"]


async def test_a_graph_executes_another_and_a_graph_that_executes_itself_is_stopped(running: Bench) -> None:
    inner = running.store(
        {
            "in": ("AgentInputBlock", {"name": "n"}),
            "add": ("CalculatorBlock", {"operation": "Add", "b": 1}),
            "out": ("AgentOutputBlock", {"name": "m"}),
        },
        ["in.result -> add.a", "add.result -> out.value"],
    )
    execution = await running.execute(
        {
            "call": ("AgentExecutorBlock", {"graph_id": inner.id, "inputs": {"n": 41}}),
            "out": ("AgentOutputBlock", {"name": "all"}),
        },
        ["call.output_lists -> out.value"],
    )
    assert execution.outputs == {"all": [{"m": [42]}]}
    (child,) = running.executions.list(DEFAULT_USER_ID, inner.id, limit=5, cursor=None).items
    assert (child.parent_execution_id, child.depth) == (execution.id, 1)

    own_id = new_id()
    itself = make_graph(running.registry, {"call": ("AgentExecutorBlock", {"graph_id": own_id})})
    store_graph(running.database, running.registry, itself.model_copy(update={"id": own_id}))
    execution_id, _ = await running.submitter.submit(DEFAULT_USER_ID, own_id, {})
    execution = await running.ended(execution_id)
    assert execution.status is FAILED
    assert "nested deeper than 10 levels" in (execution.error or "")
    assert len(running.executions.list(DEFAULT_USER_ID, own_id, limit=50, cursor=None).items) == 11


async def test_executions_that_wait_for_others_do_not_keep_them_from_running(bench: Bench) -> None:
    worker = bench.worker(drain_seconds=0, executor_concurrency=1)
    task = asyncio.create_task(worker.run(lambda lease: None))
    inner = bench.store({"out": ("AgentOutputBlock", {"name": "n", "value": 1})})
    middle = bench.store({"call": ("AgentExecutorBlock", {"graph_id": inner.id})})
    outer = bench.store({"call": ("AgentExecutorBlock", {"graph_id": middle.id})})
    ids = [await bench.submit(outer) for _ in range(3)]
    assert {(await bench.ended(execution_id)).status for execution_id in ids} == {COMPLETED}
    worker.stop()
    await asyncio.wait_for(task, 20)


async def test_a_history_that_differs_ends_the_execution_instead_of_guessing(bench: Bench) -> None:
    graph = bench.store(
        {"first": ("RecordingBlock", {"value": 1}), "gate": ("PidBlock", {})}, ["first.value -> gate.value"]
    )
    one = bench.worker(drain_seconds=0)
    task = asyncio.create_task(one.run(lambda lease: None))
    execution_id = await bench.submit(graph)
    await bench.until(lambda: any(n.node_id == node_id("gate") for n in bench.nodes(execution_id)))
    one.stop()
    await asyncio.wait_for(task, 20)
    with bench.database.write() as c:
        c.execute(
            bench.database.sql('UPDATE "AgentNodeExecution" SET "inputData" = ? WHERE "id" = ?'),
            ('{"value":2}', f"{execution_id}.0"),
        )
    two = bench.worker(drain_seconds=0)
    task = asyncio.create_task(two.run(lambda lease: None))
    execution = await bench.ended(execution_id)
    two.stop()
    await asyncio.wait_for(task, 20)
    assert execution.status is FAILED
    assert "history differs" in (execution.error or "")


async def test_a_database_that_is_away_when_an_execution_is_read_only_delays_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def load(*key: Any) -> Graph:
        looks.append(1)
        if len(looks) == 1:
            raise Unavailable("away")
        return load_version(*key)

    monkeypatch.setattr(compiled_graphs, "load_version", load)
    graph = bench.store({"out": ("AgentOutputBlock", {"name": "n", "value": 1})})
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    execution = await bench.ended(await bench.submit(graph))
    worker.stop()
    await asyncio.wait_for(task, 20)
    assert (execution.status, execution.attempt, len(looks)) == (COMPLETED, 1, 2)


async def test_an_execution_whose_end_cannot_be_stored_fails_with_the_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorder_that_refuses(*args: Any) -> Any:
        write = recorder(*args)

        def refusing(connection: Any, records: list[Record]) -> list[bool]:
            if any(r.ending is not None and r.ending.status is COMPLETED for r in records):
                raise ValueError("too much for one row")
            return write(connection, records)

        return refusing

    monkeypatch.setattr("autogpt_server.executor.worker.recorder", recorder_that_refuses)
    graph = bench.store({"out": ("AgentOutputBlock", {"name": "n", "value": 1})})
    worker = bench.worker(drain_seconds=0)
    task = asyncio.create_task(worker.run(lambda lease: None))
    execution = await bench.ended(await bench.submit(graph))
    worker.stop()
    await asyncio.wait_for(task, 20)
    assert execution.status is FAILED
    assert "too much for one row" in (execution.error or "")
