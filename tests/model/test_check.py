"""What a valid graph is, problem by problem."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from autogpt_server.errors import Problem
from autogpt_server.model.block import Block, BlockRegistry, BlockSchema
from autogpt_server.model.check import Limits, check_graph, check_inputs, input_schema, output_schema
from autogpt_server.model.graph import Graph, Link, Node
from tests.model.model_blocks import REGISTRY, Nodes, build

LIMITS = Limits(nodes=100, links=100)


def problems(nodes: Nodes, links: list[str] | None = None) -> list[Problem]:
    return check_graph(build(nodes, links), REGISTRY, LIMITS, any_ids=True)


def only(nodes: Nodes, links: list[str] | None = None) -> Problem:
    (problem,) = problems(nodes, links)
    return problem


def test_a_sound_graph_has_no_problems() -> None:
    nodes: Nodes = {
        "in": ("AgentInputBlock", {"name": "n"}),
        "any": ("AnyBlock", {"rows_$_1": 1, "fields_#_k": None}),
        "typed": ("TypedBlock", {"number": 5, "kind": "two", "either": ["a"], "maybe": None}),
        "out": ("AgentOutputBlock", {"name": "m"}),
    }
    links = ["in.result -> any.a", "any.x -> typed.text", "typed.table_#_k -> any.b", "typed.error -> out.value"]
    assert problems(nodes, links) == []


def test_loops_and_links_of_a_node_to_itself_are_legal() -> None:
    assert problems({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a", "2.x -> 1.a", "2.y -> 2.b"]) == []


def test_an_empty_graph_is_legal() -> None:
    assert problems({}) == []


def test_an_unknown_block_is_told_with_the_one_that_was_meant() -> None:
    graph = build({"1": "AnyBlock"})
    for changes, path, fix in (
        ({"block_name": "AnyBlok", "block_id": ""}, "nodes[0].block_name", "did you mean 'AnyBlock'?"),
        ({"block_name": "Executor", "block_id": ""}, "nodes[0].block_name", "did you mean 'AgentExecutorBlock'?"),
        ({"block_name": "", "block_id": "nothing-like-it"}, "nodes[0].block_id", "there is: AgentExecutorBlock, "),
        ({"block_name": "", "block_id": ""}, "nodes[0]", "set block_name or block_id"),
    ):
        broken = graph.model_copy(update={"nodes": (graph.nodes[0].model_copy(update=changes),)})
        (problem,) = check_graph(broken, REGISTRY, LIMITS, any_ids=True)
        assert problem.path == path
        assert "node 1" in problem.message
        assert problem.fix is not None and problem.fix.startswith(fix)


def test_a_block_id_of_another_block_is_told() -> None:
    graph = build({"1": "AnyBlock"})
    node = graph.nodes[0].model_copy(update={"block_id": REGISTRY.get("TypedBlock").id})
    (problem,) = check_graph(graph.model_copy(update={"nodes": (node,)}), REGISTRY, LIMITS, any_ids=True)
    assert problem.path == "nodes[0].block_id"


@pytest.mark.parametrize(
    ("link", "path", "message", "fix"),
    [
        ("1.z -> 2.a", "links[0].source_name", "node 1 (AnyBlock) has no output pin 'z'", "there is: error, x, y"),
        ("1.X -> 2.a", "links[0].source_name", "has no output pin 'X'", "did you mean 'x'?"),
        ("1.x -> 2.row", "links[0].sink_name", "node 2 (AnyBlock) has no input pin 'row'", "did you mean 'rows'?"),
        ("1.x -> 2.error", "links[0].sink_name", "has no input pin 'error'", None),
        ("1.x -> 2.rows_$_a", "links[0].sink_name", "no input pin 'rows_$_a'", "a whole number belongs after _$_"),
        ("1.x_$_ -> 2.a", "links[0].source_name", "no output pin 'x_$_'", "a whole number belongs after _$_"),
        ("1.error_#_k -> 2.a", "links[0].source_name", "holds string, which has no such parts", "use 'error' itself"),
        ("1.x -> 2.rows_#_k", "links[0].sink_name", "holds array, which has no such parts", None),
        ("1.x -> 2.fields_$_1", "links[0].sink_name", "holds object, which has no such parts", None),
        ("1.x -> 9.a", "links[0].sink_id", "the graph has no node 9", "links join nodes of one graph"),
        ("9.x -> 1.a", "links[0].source_id", "the graph has no node 9", "links join nodes of one graph"),
    ],
)
def test_a_link_names_nodes_and_pins_that_exist(link: str, path: str, message: str, fix: str | None) -> None:
    problem = only({"1": "AnyBlock", "2": "AnyBlock"}, [link])
    assert problem.path == path
    assert message in problem.message
    assert fix is None or fix in (problem.fix or "")


@pytest.mark.parametrize(
    ("link", "fits"),
    [
        ("t.text -> u.text", True),
        ("t.text -> u.number", True),
        ("t.text -> u.kind", True),
        ("t.text -> u.items", False),
        ("t.text -> u.table", False),
        ("t.text -> u.either", True),
        ("t.items -> u.text", False),
        ("t.items -> u.either", True),
        ("t.items -> u.items", True),
        ("t.items_$_0 -> u.number", True),
        ("t.items_$_0 -> u.items", False),
        ("t.items_$_0 -> u.items_$_0", True),
        ("t.items -> u.items_$_0", False),
        ("t.table_#_k -> u.text", True),
        ("t.table_@_k -> u.table", False),
        ("t.table_#_k -> u.table_#_k", True),
        ("t.maybe -> u.text", True),
        ("t.maybe -> u.maybe", True),
        ("t.maybe_#_k -> u.items", True),
        ("t.error -> u.table", False),
        ("t.error -> u.text", True),
    ],
)
def test_only_links_that_can_never_fit_are_refused(link: str, fits: bool) -> None:
    found = problems({"t": ("TypedBlock", {"text": ""}), "u": ("TypedBlock", {"text": ""})}, [link])
    assert [p.path for p in found] == ([] if fits else ["links[0]"])
    assert fits or "never fits" in found[0].message


@pytest.mark.parametrize(
    ("defaults", "path"),
    [
        ({"number": "many"}, "nodes[0].input_default.number"),
        ({"number": None}, "nodes[0].input_default.number"),
        ({"kind": "three"}, "nodes[0].input_default.kind"),
        ({"items": [1, "x"]}, "nodes[0].input_default.items[1]"),
        ({"table": {"k": []}}, "nodes[0].input_default.table.k"),
        ({"nowhere": 1}, "nodes[0].input_default.nowhere"),
        ({"text_$_0": "x"}, "nodes[0].input_default.text_$_0"),
        ({"error": "x"}, "nodes[0].input_default.error"),
    ],
)
def test_a_value_that_does_not_fit_its_pin_is_told(defaults: dict[str, Any], path: str) -> None:
    problem = only({"1": ("TypedBlock", {"text": "", **defaults})})
    assert problem.path == path
    assert "node 1 (TypedBlock)" in problem.message


def test_values_that_convert_fit_and_those_of_linked_pins_do_not_count() -> None:
    assert problems({"1": ("TypedBlock", {"text": 5, "number": "5"})}) == []
    nodes: Nodes = {"1": "AnyBlock", "2": ("TypedBlock", {"text": [], "number": "many"})}
    assert problems(nodes, ["1.x -> 2.text", "1.x -> 2.number"]) == []


def test_a_value_with_very_many_errors_is_told_once() -> None:
    problem = only({"1": ("TypedBlock", {"text": "", "items": ["x"] * 1000})})
    assert "1,000 values" in problem.message


def test_a_required_pin_needs_a_link_or_a_value() -> None:
    entry: Nodes = {"in": ("AgentInputBlock", {"name": "n"})}
    problem = only({**entry, "1": "TypedBlock"})
    assert problem.path == "nodes[1].input_default.text"
    assert "the required pin 'text' has neither a link nor a value" in problem.message
    assert problems({**entry, "1": "TypedBlock"}, ["in.result -> 1.text"]) == []
    assert problems({**entry, "1": ("TypedBlock", {"text": ""})}) == []
    assert only({"0": "AnyBlock", "1": "TypedBlock"}, ["0.x -> 1.number"]).path == "nodes[1].input_default.text"


def test_a_starting_node_may_get_its_required_pins_from_the_execution_where_no_input_block_is() -> None:
    assert problems({"1": "TypedBlock"}) == []


@pytest.mark.parametrize("block", ["AgentInputBlock", "AgentOutputBlock"])
@pytest.mark.parametrize("name", ["", None, 5, ["n"]])
def test_inputs_and_outputs_have_constant_names(block: str, name: Any) -> None:
    nodes: Nodes = {"0": "AnyBlock", "1": (block, {"name": name})}
    found = problems(nodes, ["0.x -> 1.value"])
    assert found and {p.path for p in found} == {"nodes[1].input_default.name"}
    linked = problems({"0": "AnyBlock", "1": (block, {"name": "n"})}, ["0.x -> 1.name", "0.x -> 1.value"])
    assert [p.message for p in linked] == [f"node 1 ({block}): its name is linked"]


def test_several_inputs_and_outputs_may_share_a_name() -> None:
    nodes: Nodes = {
        "1": ("AgentInputBlock", {"name": "n"}),
        "2": ("AgentInputBlock", {"name": "n"}),
        "3": ("AgentOutputBlock", {"name": "n", "value": 1}),
        "4": ("AgentOutputBlock", {"name": "n", "value": 2}),
    }
    assert problems(nodes) == []


def test_doubled_ids_and_links_are_told() -> None:
    graph = build({"1": "AnyBlock", "2": "AnyBlock"}, ["1.x -> 2.a", "1.x -> 2.a"])
    same_id = graph.links[0].model_copy(update={"sink_name": "b"})
    broken = graph.model_copy(update={"nodes": (*graph.nodes, graph.nodes[0]), "links": (*graph.links, same_id)})
    found = check_graph(broken, REGISTRY, LIMITS, any_ids=True)
    assert [(p.path, p.message) for p in found] == [
        ("nodes[2].id", "the node id 1 is there twice; first at nodes[0].id"),
        ("links[2].id", "the link id link0000 is there twice; first at links[0].id"),
        ("links[1]", "the link from 1.x to 2.a is there twice; first at links[0]"),
    ]


def test_ids_are_uuids() -> None:
    graph = build({"1": "AnyBlock"}, ["1.x -> 1.a"]).model_copy(update={"id": "g"})
    found = check_graph(graph, REGISTRY, LIMITS)
    assert [p.path for p in found] == ["id", "nodes[0].id", "links[0].id"]


def test_a_graph_beyond_its_limits_is_told_only_that() -> None:
    graph = build({str(i): "AnyBlock" for i in range(3)}, ["0.x -> 9.a", "9.x -> 0.a"])
    found = check_graph(graph, REGISTRY, Limits(nodes=2, links=1), any_ids=True)
    assert [(p.path, p.message) for p in found] == [
        ("nodes", "has 3 nodes, the limit is 2"),
        ("links", "has 2 links, the limit is 1"),
    ]


def test_all_problems_are_told_at_once() -> None:
    nodes: Nodes = {"1": ("AnyBlock", {"z": 1}), "2": ("TypedBlock", {"number": "x"})}
    found = problems(nodes, ["1.q -> 2.r", "1.x -> 8.a"])
    assert [p.path for p in found] == [
        "nodes[0].input_default.z",
        "nodes[1].input_default.number",
        "nodes[1].input_default.text",
        "links[0].source_name",
        "links[0].sink_name",
        "links[1].sink_id",
    ]


def test_checking_stays_linear_when_everything_is_wrong() -> None:
    nodes = tuple(
        Node(id=str(uuid.uuid4()), block_id="", block_name=f"Block{i}", input_default={f"pin{i}": i})
        for i in range(10_000)
    )
    links = tuple(
        Link(id=str(uuid.uuid4()), source_id=node.id, source_name="q" * 1000, sink_id="gone", sink_name="r")
        for node in nodes
    )
    graph = Graph(id=str(uuid.uuid4()), name="g", nodes=nodes, links=links)
    started = time.monotonic()
    assert len(check_graph(graph, REGISTRY, Limits(10_000, 10_000))) == 20_000
    assert time.monotonic() - started < 10


class Tree(BlockSchema):
    children: list[Tree] = []


class TreeBlock(Block):
    id = "tree"

    class Input(BlockSchema):
        tree: Tree | list[Tree] | None = None

    class Output(BlockSchema):
        tree: Tree


def test_types_that_refer_to_themselves_are_understood() -> None:
    graph = Graph(
        id="g",
        name="g",
        nodes=(Node(id="1", block_id="tree", block_name="TreeBlock"),),
        links=(
            Link(
                id="l",
                source_id="1",
                source_name="tree_#_children_$_0_#_children",
                sink_id="1",
                sink_name="tree_#_children_$_0",
            ),
            Link(id="m", source_id="1", source_name="tree_#_leaves", sink_id="1", sink_name="tree"),
        ),
    )
    found = check_graph(graph, BlockRegistry([TreeBlock]), LIMITS, any_ids=True)
    assert [p.path for p in found] == ["links[1].source_name"]


class TestInputs:
    graph = build(
        {
            "1": ("AgentInputBlock", {"name": "count"}),
            "2": ("AgentInputBlock", {"name": "unit", "value": None, "title": "Unit", "description": "of length"}),
            "3": ("AgentInputBlock", {"name": "inner"}),
            "4": ("AgentOutputBlock", {"name": "sum", "title": ""}),
        },
        ["1.result -> 3.value", "3.result -> 4.value"],
    )

    def test_unknown_names_are_refused_with_the_one_that_was_meant(self) -> None:
        (problem,) = check_inputs(self.graph, {"count": 1, "unti": 2})
        assert (problem.path, problem.fix) == ("unti", "did you mean 'unit'?")

    def test_missing_names_without_a_default_are_refused(self) -> None:
        (problem,) = check_inputs(self.graph, {})
        assert problem.path == "count"
        assert check_inputs(self.graph, {"count": None}) == []

    def test_a_graph_without_input_blocks_takes_any_names(self) -> None:
        assert check_inputs(build({"1": "AnyBlock"}), {"what": "ever"}) == []

    def test_the_schemas_name_inputs_and_outputs(self) -> None:
        assert input_schema(self.graph, REGISTRY) == {
            "type": "object",
            "properties": {
                "count": {"title": "count"},
                "unit": {"title": "Unit", "description": "of length", "default": None},
            },
            "required": ["count"],
            "additionalProperties": False,
        }
        assert output_schema(self.graph, REGISTRY) == {
            "type": "object",
            "properties": {"sum": {"type": "array", "items": {}, "title": "sum"}},
            "additionalProperties": False,
        }

    def test_without_input_blocks_the_pins_of_starting_nodes_are_the_inputs(self) -> None:
        schema = input_schema(build({"1": "AnyBlock", "2": "TypedBlock"}, ["1.x -> 2.text"]), REGISTRY)
        assert set(schema["properties"]) == {"a", "b", "rows", "fields"}
        assert schema["additionalProperties"] is True
