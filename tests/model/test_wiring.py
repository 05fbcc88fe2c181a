"""The wiring's rules, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autogpt_server.errors import BlockNotFound, HistoryDiffers
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.compiled import CompiledGraph
from autogpt_server.model.wiring import NodeEnd, StreamedOutput
from tests.model.model_blocks import COMPLETED, FAILED, REGISTRY, TERMINATED, AnyBlock, Run, build


def test_nodes_without_links_start_in_the_order_of_their_ids_with_their_defaults() -> None:
    run = Run(build({"c": "AnyBlock", "a": ("AnyBlock", {"a": 1}), "b": "AnyBlock"}))
    assert run.drain() == [("a", {"a": 1}), ("b", {}), ("c", {})]
    assert [record.ordinal for record in run.records] == [0, 1, 2]


def test_without_input_blocks_every_starting_node_takes_the_inputs_that_are_its_pins() -> None:
    inputs = {"a": 1, "rows_$_1": 2, "nowhere": 3, "text": "t"}
    run = Run(build({"one": ("AnyBlock", {"a": 0, "b": 5}), "two": "TypedBlock"}), inputs)
    assert run.drain() == [("one", {"a": 1, "b": 5, "rows": [2]}), ("two", {"text": "t"})]


def test_input_blocks_take_their_named_inputs_and_others_start_with_their_defaults_only() -> None:
    nodes: Any = {
        "1": ("AgentInputBlock", {"name": "n", "value": "default"}),
        "2": ("AgentInputBlock", {"name": "m", "value": "default"}),
        "3": ("AgentInputBlock", {"name": "n"}),
        "4": ("AnyBlock", {"b": 1}),
    }
    run = Run(build(nodes), {"n": None, "a": 7})
    assert run.drain() == [
        ("1", {"name": "n", "value": None}),
        ("2", {"name": "m", "value": "default"}),
        ("3", {"name": "n", "value": None}),
        ("4", {"b": 1}),
    ]


def test_a_linked_pin_waits_for_a_value_whatever_its_default() -> None:
    run = Run(build({"1": "AnyBlock", "2": ("AnyBlock", {"a": 5, "b": 6})}, ["1.x -> 2.a", "1.y -> 2.b"]))
    one = run.take()["1"]
    run.end(one, ("x", "value"))
    assert run.take() == {}
    assert run.wiring.stats() == {"node_executions": 1, "failed": 0, "unconsumed_values": 1}


def test_input_pin_always_waited() -> None:
    # Two values into one look-up with defaults: it waits for both.
    nodes: Any = {"1": "ConstantBlock", "2": "ConstantBlock", "3": ("AnyBlock", {"a": {}, "b": ""})}
    run = Run(build(nodes, ["1.x -> 3.a", "2.x -> 3.b"]))
    outputs: Any = {"1": [("x", {"key1": "value1", "key2": "value2"})], "2": [("x", "key2")]}
    assert run.drain(outputs)[2:] == [("3", {"a": {"key1": "value1", "key2": "value2"}, "b": "key2"})]


def test_static_input_link_on_graph() -> None:
    # Three values on a, and one over a static link on b: the sink runs three times.
    nodes: Any = {"1": "AnyBlock", "2": "ConstantBlock", "3": "AnyBlock"}
    run = Run(build(nodes, ["1.x -> 3.a", "=2.x -> 3.b"]))
    ran = run.drain({"1": [("x", 4), ("x", 4), ("x", 4)], "2": [("x", 5)]})
    assert ran[2:] == [("3", {"a": 4, "b": 5})] * 3


def test_texts_from_links_and_a_default_make_one_list() -> None:
    nodes: Any = {"1": "AnyBlock", "2": ("AnyBlock", {"rows_$_3": "!!!"})}
    run = Run(build(nodes, ["1.x -> 2.rows_$_1", "1.y -> 2.rows_$_2"]))
    assert run.drain({"1": [("y", "World"), ("x", "Hello")]})[1:] == [("2", {"rows": ["Hello", "World", "!!!"]})]


def test_a_value_goes_to_the_oldest_execution_that_lacks_the_pin_else_opens_one() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a", "1.y -> 2.b"]))
    ran = run.drain({"1": [("x", 1), ("x", 2), ("y", "a"), ("x", 3), ("y", "b")]})
    assert ran[1:] == [("2", {"a": 1, "b": "a"}), ("2", {"a": 2, "b": "b"})]
    assert run.wiring.stats()["unconsumed_values"] == 1


def test_none_travels_like_any_value_and_a_selector_that_finds_nothing_does_not() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x_#_k -> 2.a"]))
    assert run.drain({"1": [("x", {"k": None}), ("x", {}), ("x", None)]})[1:] == [("2", {"a": None})]


def test_two_static_constants_give_one_execution_and_a_later_value_another() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["=1.x -> 3.a", "=2.x -> 3.b"]))
    nodes = run.take()
    run.end(nodes["1"], ("x", 1))
    run.end(nodes["2"], ("x", 2), ("x", 3))
    assert run.drain() == [("3", {"a": 1, "b": 2}), ("3", {"a": 1, "b": 3})]


def test_static_values_that_wait_for_another_static_pin_are_all_executed() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["=1.x -> 3.a", "=2.x -> 3.b"]))
    nodes = run.take()
    run.end(nodes["1"], ("x", 1), ("x", 2))
    run.end(nodes["2"], ("x", 5))
    assert run.drain() == [("3", {"a": 1, "b": 5}), ("3", {"a": 2, "b": 5})]


def test_a_static_value_freezes_into_an_execution_when_it_becomes_ready() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["1.x -> 3.a", "=2.x -> 3.b"]))
    nodes = run.take()
    run.end(nodes["1"], ("x", 1), ("x", 2))
    assert run.take() == {}
    run.end(nodes["2"], ("x", "first"), ("x", "second"))
    assert run.drain() == [("3", {"a": 1, "b": "first"}), ("3", {"a": 2, "b": "first"})]


def test_a_pin_with_one_link_that_is_not_static_is_not_static() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["=1.x -> 2.a", "1.y -> 2.a"]))
    assert run.drain({"1": [("x", 1), ("y", 2)]})[1:] == [("2", {"a": 1}), ("2", {"a": 2})]


def test_one_execution_of_a_node_runs_at_a_time_in_order_while_other_nodes_run() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["1.x -> 2.a", "1.y -> 3.a"]))
    run.end(run.take()["1"], ("x", 1), ("x", 2), ("y", 3))
    first = run.take()
    assert {name: node.inputs for name, node in first.items()} == {"2": {"a": 1}, "3": {"a": 3}}
    run.end(first["2"])
    assert run.take()["2"].inputs == {"a": 2}


def test_a_long_queue_of_one_node_holds_up_no_other() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["1.x -> 2.a", "2.x -> 3.a"]))
    ran = [name for name, _ in run.drain({"1": [("x", i) for i in range(50)], "2": [("x", 0)]})]
    assert ran.count("2") == ran.count("3") == 50
    assert ran.index("3") < 4


def test_an_end_has_no_consequences_before_it_is_delivered_and_ends_are_delivered_in_order() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["1.x -> 3.a", "2.x -> 3.a"]))
    nodes = run.take()
    later, earlier = (run.wiring.end(nodes[name].ordinal, COMPLETED, [("x", name)]) for name in ("2", "1"))
    assert (later.sequence, earlier.sequence) == (1, 2)
    assert run.take() == {}
    with pytest.raises(ValueError, match="not the next"):
        run.wiring.deliver(earlier)
    run.wiring.deliver(later)
    run.wiring.deliver(earlier)
    with pytest.raises(ValueError, match="not the next"):
        run.wiring.deliver(earlier)
    assert [inputs for _, inputs in run.drain()] == [{"a": "2"}, {"a": "1"}]


def test_a_failure_fails_the_execution_and_names_the_first_failing_node() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["1.x -> 3.a"]))
    nodes = run.take()
    failed = run.end(nodes["2"], error="out of paper")
    run.end(nodes["1"], ("x", 1), error="too late")
    assert failed.outputs == [("error", "out of paper")]
    # What was yielded before the failure goes on.
    assert run.drain() == [("3", {"a": 1})]
    status, error = run.wiring.outcome()
    assert (status, error) == (FAILED, "node 2 (AnyBlock) failed: out of paper")
    assert run.wiring.stats()["failed"] == 2


def test_a_failure_whose_error_is_linked_is_handled() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.error -> 2.a"]))
    run.end(run.take()["1"], error="no")
    assert run.drain() == [("2", {"a": "no"})]
    assert run.wiring.outcome() == (COMPLETED, None)


def test_output_blocks_collect_values_by_name_in_the_order_of_their_ends() -> None:
    nodes: Any = {
        "1": "AnyBlock",
        "2": ("AgentOutputBlock", {"name": "n"}),
        "3": ("AgentOutputBlock", {"name": "n"}),
        "4": ("AgentOutputBlock", {"name": "m"}),
    }
    run = Run(build(nodes, ["1.x -> 2.value", "1.x -> 3.value", "1.y -> 4.value"]))
    run.end(run.take()["1"], ("x", 1), ("y", None))
    taken = run.take()
    run.end(taken["3"], ("output", "three"), ("name", "n"))
    run.end(taken["2"], ("output", "two"))
    run.end(taken["4"], ("output", None))
    assert run.wiring.outputs() == {"n": ["three", "two"], "m": [None]}


def test_a_loop_that_never_ends_meets_the_limit_and_starts_nothing_more() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a", "2.x -> 2.a"]), limit=10)
    ran = run.drain({"1": [("x", 0)], "2": [("x", 1)]})
    assert len(ran) == 10
    status, error = run.wiring.outcome()
    assert status is FAILED
    assert error is not None and "node 2 (AnyBlock)" in error and "limit of 10 node executions" in error


def test_a_graph_of_more_starting_nodes_than_the_limit_starts_none() -> None:
    run = Run(build({str(i): "AnyBlock" for i in range(5)}), limit=4)
    assert run.drain() == []
    assert run.wiring.outcome()[0] is FAILED


def test_a_stopped_node_has_no_consequences_and_holds_up_no_delivery() -> None:
    run = Run(build({"1": "AnyBlock", "2": "AnyBlock", "3": "AnyBlock"}, ["1.x -> 3.a", "2.x -> 3.a"]))
    nodes = run.take()
    stopped = run.wiring.end(nodes["1"].ordinal, TERMINATED, [("x", 1)], "stopped")
    run.end(nodes["2"], ("x", 2))
    run.wiring.deliver(stopped)
    assert run.drain() == [("3", {"a": 2})]
    assert run.wiring.outcome() == (COMPLETED, None)


def test_a_node_that_was_not_taken_cannot_end() -> None:
    run = Run(build({"1": "AnyBlock"}))
    with pytest.raises(KeyError):
        run.wiring.end(0, COMPLETED, [])


def test_a_graph_with_an_unknown_block_does_not_compile() -> None:
    with pytest.raises(BlockNotFound):
        CompiledGraph.compile(build({"1": "TypedBlock"}), BlockRegistry([AnyBlock]))


def test_compiling_sorts_nodes_and_links_by_their_ids_whatever_their_order() -> None:
    graph = build({"b": "AnyBlock", "a": "AnyBlock"}, ["b.x -> a.b", "b.x -> a.a"])
    turned = graph.model_copy(update={"nodes": graph.nodes[::-1], "links": graph.links[::-1]})
    one, other = CompiledGraph.compile(graph, REGISTRY), CompiledGraph.compile(turned, REGISTRY)
    assert [node.id for node in one.nodes] == ["a", "b"]
    assert one.nodes[1].routes == other.nodes[1].routes == {"x": (((), 0, 1), ((), 0, 0))}


class TestHistory:
    """Replaying records that are not what the graph leads to."""

    def records(self) -> list[NodeEnd]:
        run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a"]))
        run.drain({"1": [("x", 1), ("x", 1.5)]})
        return run.records

    def replay(self, records: list[NodeEnd], expected: str) -> None:
        run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a"]))
        with pytest.raises(HistoryDiffers, match="history differs") as differs:
            run.wiring.replay(records)
        assert expected in str(differs.value)

    def test_the_same_records_in_any_order_resume(self) -> None:
        run = Run(build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a"]))
        run.wiring.replay(self.records()[1::-1])
        assert run.drain() == [("2", {"a": 1.5})]

    def test_a_missing_record_is_told(self) -> None:
        first, _, third = self.records()
        self.replay([first, third], "at sequence 2: its record is missing")

    def test_a_doubled_sequence_is_told(self) -> None:
        first, second, _ = self.records()
        self.replay([first, second, second], "at sequence 3: its record is missing or doubled")

    def test_an_unknown_node_is_told(self) -> None:
        self.replay([replace(self.records()[0], node_id="9")], "no node 9")

    @pytest.mark.parametrize("ordinal", [-1, 1, 99])
    def test_an_execution_that_cannot_have_ended_is_told(self, ordinal: int) -> None:
        self.replay([replace(self.records()[0], ordinal=ordinal)], f"execution {ordinal} of node 1 cannot have ended")

    def test_executions_of_a_node_that_changed_places_are_told(self) -> None:
        first, second, third = self.records()
        self.replay([first, replace(third, sequence=2), replace(second, sequence=3)], "at sequence 2")

    @pytest.mark.parametrize("inputs", [{"a": True}, {"a": 1.0}, {"a": "1"}, {}, {"a": 1, "b": None}])
    def test_other_inputs_are_told(self, inputs: dict[str, Any]) -> None:
        first, second, _ = self.records()
        self.replay([first, replace(second, inputs=inputs)], "has other inputs on ")


class TestStreams:
    """What a node yields while it runs goes on at once, and only once."""

    GRAPH = build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a"])

    def test_streamed_outputs_go_on_before_the_end_and_not_again_at_it(self) -> None:
        run = Run(self.GRAPH)
        one = run.take()["1"]
        first = run.wiring.stream(one.ordinal, "x", "p")
        assert run.take() == {}
        run.wiring.deliver_streamed(first)
        assert run.take()["2"].inputs == {"a": "p"}
        run.wiring.deliver_streamed(run.wiring.stream(one.ordinal, "x", "q"))
        end = run.wiring.end(one.ordinal, FAILED, [], "broken")
        assert end.outputs == [("x", "p"), ("x", "q"), ("error", "broken")]
        run.wiring.deliver(end)
        assert run.wiring.stats()["node_executions"] == 1
        assert run.wiring.outcome()[0] is FAILED

    def test_an_end_waits_for_the_delivery_of_what_was_streamed_before_it(self) -> None:
        run = Run(self.GRAPH)
        one = run.take()["1"]
        output = run.wiring.stream(one.ordinal, "x", "p")
        end = run.wiring.end(one.ordinal, COMPLETED, [])
        with pytest.raises(ValueError, match="not the next"):
            run.wiring.deliver(end)
        run.wiring.deliver_streamed(output)
        with pytest.raises(ValueError, match="not the next"):
            run.wiring.deliver_streamed(output)
        run.wiring.deliver(end)

    def resumed(self, *streamed: StreamedOutput, records: list[NodeEnd] | None = None) -> Run:
        run = Run(self.GRAPH)
        run.wiring.replay(records or [], streamed)
        return run

    def test_a_resumed_node_leaves_out_what_it_had_streamed(self) -> None:
        run = self.resumed(StreamedOutput(1, 0, 0, "1", "x", "p"))
        assert run.wiring.streamed(0) == 1
        assert run.take()["2"].inputs == {"a": "p"}
        end = run.wiring.end(0, COMPLETED, [("y", 1)])
        assert (end.outputs, end.streamed) == ([("x", "p"), ("y", 1)], 1)

    @pytest.mark.parametrize(
        ("output", "expected"),
        [
            (StreamedOutput(2, 0, 0, "1", "x", "p"), "streamed output 1 is missing"),
            (StreamedOutput(1, 1, 0, "1", "x", "p"), "streamed output 1 follows it"),
            (StreamedOutput(1, 0, 0, "9", "x", "p"), "node 9 cannot have streamed"),
            (StreamedOutput(1, 0, 1, "2", "x", "p"), "node 2 cannot have streamed"),
        ],
    )
    def test_what_cannot_have_been_streamed_is_told(self, output: StreamedOutput, expected: str) -> None:
        with pytest.raises(HistoryDiffers, match=expected):
            self.resumed(output)

    def test_an_end_that_does_not_begin_with_what_was_streamed_is_told(self) -> None:
        end = NodeEnd(0, "1", 1, COMPLETED, {}, [("x", "other")], None)
        with pytest.raises(HistoryDiffers, match="other outputs than it had streamed"):
            self.resumed(StreamedOutput(1, 0, 0, "1", "x", "p"), records=[end])
