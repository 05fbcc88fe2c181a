"""Reading graphs: our own form, exports of other servers, and everything that is neither."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.check import Limits
from autogpt_server.model.graph_import import MAX_PROBLEMS, MAX_SUB_GRAPHS, ParsedGraph, parse_graph
from autogpt_server.model.ids import is_uuid
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.model.policy import GraphPolicy, NodePolicy, RetryPolicy
from tests.model.model_blocks import REGISTRY

LIMITS = Limits(nodes=20, links=20)

GRAPH_ID = "20000000-0000-4000-8000-000000000000"
ONE, TWO = "20000000-0000-4000-8000-000000000001", "20000000-0000-4000-8000-000000000002"
LINK, INNER = "20000000-0000-4000-8000-000000000003", "20000000-0000-4000-8000-000000000004"


def own() -> dict[str, Any]:
    return {
        "id": GRAPH_ID,
        "name": "a graph",
        "nodes": [
            {"id": ONE, "block_name": "ConstantBlock", "input_default": {"a": 1}},
            {"id": TWO, "block_name": "AnyBlock", "metadata": {"position": {"x": 1, "y": 2}}},
        ],
        "links": [{"id": LINK, "source_id": ONE, "source_name": "x", "sink_id": TWO, "sink_name": "a"}],
    }


def export() -> dict[str, Any]:
    """As exports look: links on top and in both nodes, and fields that mean nothing here."""
    document = own()
    for node, key in ((document["nodes"][0], "output_links"), (document["nodes"][1], "input_links")):
        node.update(input_links=[], output_links=[], webhook_id=None, graph_id=GRAPH_ID, graph_version=3)
        node[key] = [{**document["links"][0], "is_static": True}]
    return {**document, "version": 3, "description": None, "user_id": "", "sub_graphs": [], "input_schema": {}}


def read(document: Any, **options: Any) -> ParsedGraph:
    return parse_graph(document, REGISTRY, LIMITS, **options)


def refused(document: Any, **options: Any) -> list[Problem]:
    with pytest.raises(InvalidError) as error:
        read(document, **options)
    assert error.value.problems
    return list(error.value.problems)


class TestOwnForm:
    def test_a_graph_is_read_with_its_ids_kept_and_its_blocks_known(self) -> None:
        parsed = read(own())
        graph = parsed.graph
        assert (graph.id, graph.version, graph.name, graph.description) == (GRAPH_ID, 1, "a graph", "")
        assert [(n.id, n.block_name, n.block_id) for n in graph.nodes] == [
            (ONE, "ConstantBlock", REGISTRY.get("ConstantBlock").id),
            (TWO, "AnyBlock", REGISTRY.get("AnyBlock").id),
        ]
        assert graph.nodes[0].input_default == {"a": 1}
        assert graph.nodes[1].metadata == {"position": {"x": 1, "y": 2}}
        assert (parsed.sub_graphs, parsed.warnings) == ((), ())

    def test_links_out_of_static_blocks_are_static(self) -> None:
        assert read(own()).graph.links[0].is_static is True

    def test_a_graph_may_be_wrapped(self) -> None:
        assert read({"graph": own()}) == read(own())
        (problem,) = refused({"graph": {**own(), "name": 5}})
        assert problem.path == "graph.name"

    def test_what_was_read_reads_again_as_the_same(self) -> None:
        graph = read(own()).graph
        assert read(graph.model_dump(mode="json")) == ParsedGraph(graph)

    @pytest.mark.parametrize("missing", [None, ""])
    def test_missing_ids_are_made(self, missing: str | None) -> None:
        document = own()
        document["id"] = missing
        document["links"][0]["id"] = missing
        document["nodes"].append({"id": missing, "block_name": "AnyBlock"})
        graph = read(document).graph
        assert is_uuid(graph.id) and is_uuid(graph.links[0].id) and is_uuid(graph.nodes[2].id)

    @pytest.mark.parametrize("key", [{"block_id": "old-id-that-is-no-uuid"}, {"block_name": "OldAnyBlock"}])
    def test_blocks_are_found_by_old_ids_and_names(self, key: dict[str, str]) -> None:
        node = read({"nodes": [key]}).graph.nodes[0]
        assert (node.block_id, node.block_name) == (REGISTRY.get("AnyBlock").id, "AnyBlock")

    def test_unknown_fields_are_ignored_with_one_warning_each(self) -> None:
        document = {**own(), "colour": "red"}
        for node in document["nodes"]:
            node["shape"] = None
        document["links"][0]["width"] = 2
        assert [(w.path, w.message) for w in read(document).warnings] == [
            ("links[0].width", "the field 'width' of a link is unknown and ignored"),
            ("colour", "the field 'colour' of a graph is unknown and ignored"),
            ("nodes[0].shape", "the field 'shape' of a node is unknown and ignored"),
        ]

    def test_unknown_pins_in_defaults_are_a_problem(self) -> None:
        document = own()
        document["nodes"][0]["input_default"]["z"] = 1
        assert [p.path for p in refused(document)] == ["nodes[0].input_default.z"]

    def test_a_link_that_is_there_twice_is_a_problem(self) -> None:
        document = own()
        document["links"].append({**document["links"][0], "id": INNER})
        assert [p.path for p in refused(document)] == ["links[1]"]

    def test_null_name_and_description_are_as_if_left_out(self) -> None:
        graph = read({**own(), "name": None, "description": None}).graph
        assert (graph.name, graph.description) == ("Unnamed graph", "")


class TestNewIds:
    def test_every_id_is_new_and_what_refers_to_it_follows(self) -> None:
        graph = read(own(), new_ids=True).graph
        assert {graph.id, *(n.id for n in graph.nodes), graph.links[0].id}.isdisjoint({GRAPH_ID, ONE, TWO, LINK})
        assert (graph.links[0].source_id, graph.links[0].sink_id) == (graph.nodes[0].id, graph.nodes[1].id)

    def test_ids_that_are_replaced_need_not_be_uuids(self) -> None:
        document = json.loads(json.dumps(own()).replace(ONE, "one").replace(LINK, "link"))
        assert [p.path for p in refused(document)] == ["nodes[0].id", "links[0].id"]
        assert is_uuid(read(document, new_ids=True).graph.nodes[0].id)

    def test_doubled_ids_are_still_a_problem(self) -> None:
        document = own()
        document["nodes"][1]["id"] = ONE
        assert "nodes[1].id" in [p.path for p in refused(document, new_ids=True)]


class TestExports:
    def test_links_on_top_and_inside_nodes_are_one(self) -> None:
        parsed = read(export())
        assert [link.id for link in parsed.graph.links] == [LINK]
        assert (parsed.graph.version, parsed.graph.description, parsed.warnings) == (3, "", ())

    def test_links_only_inside_nodes_are_found(self) -> None:
        document = export()
        del document["links"]
        link = {"source_id": ONE, "source_name": "y", "sink_id": TWO, "sink_name": "b"}
        document["nodes"][0]["output_links"].append(link)
        document["nodes"][1]["input_links"].append(dict(link))
        links = read(document).graph.links
        assert [(k.source_name, k.sink_name) for k in links] == [("x", "a"), ("y", "b")]

    def test_a_broken_link_inside_a_node_is_told_with_its_place(self) -> None:
        document = export()
        document["nodes"][0]["output_links"].append(
            {"id": INNER, "source_id": ONE, "source_name": "x", "sink_id": TWO, "sink_name": "nowhere"}
        )
        assert [p.path for p in refused(document)] == ["nodes[0].output_links[1].sink_name"]

    def test_what_a_block_does_not_know_is_dropped_with_a_warning(self) -> None:
        document = export()
        document["nodes"][1].update(input_default={"a": 1, "z": 2, "rows": None, "b": None})
        parsed = read(document)
        assert parsed.graph.nodes[1].input_default == {"a": 1, "b": None}
        assert [w.path for w in parsed.warnings] == ["nodes[1].input_default.z", "nodes[1].input_default.rows"]

    def test_fields_in_use_that_mean_something_elsewhere_are_warned_of(self) -> None:
        document = {**export(), "recommended_schedule_cron": "0 0 * * *", "instructions": None}
        document["nodes"][0]["webhook_id"] = INNER
        assert [w.path for w in read(document).warnings] == ["recommended_schedule_cron", "nodes[0].webhook_id"]


class TestSubGraphs:
    def document(self) -> dict[str, Any]:
        inner = json.loads(json.dumps(own()).replace("20000000", "30000000"))
        values = {"graph_id": inner["id"], "graph_version": 7, "inputs": {}}
        node = {"id": INNER, "block_name": "AgentExecutorBlock", "input_default": values}
        return {**own(), "nodes": [*own()["nodes"], node], "sub_graphs": [inner]}

    def test_they_are_returned_beside_the_graph_and_executed_in_their_active_version(self) -> None:
        parsed = read(self.document())
        (inner,) = parsed.sub_graphs
        assert inner.id == "30000000-0000-4000-8000-000000000000"
        assert parsed.graph.nodes[2].input_default == {"graph_id": inner.id, "inputs": {}}

    def test_the_version_of_a_graph_that_is_not_in_the_document_is_kept(self) -> None:
        document = self.document()
        document["nodes"][2]["input_default"]["graph_id"] = LINK
        assert read(document).graph.nodes[2].input_default["graph_version"] == 7

    def test_new_ids_keep_the_reference(self) -> None:
        parsed = read(self.document(), new_ids=True)
        (inner,) = parsed.sub_graphs
        assert inner.id != "30000000-0000-4000-8000-000000000000"
        assert parsed.graph.nodes[2].input_default["graph_id"] == inner.id

    def test_their_problems_are_told_with_their_place(self) -> None:
        document = self.document()
        document["sub_graphs"][0]["nodes"][0]["block_name"] = "NoBlock"
        document["nodes"][0]["block_name"] = "NoBlock"
        assert [p.path for p in refused(document)] == ["nodes[0].block_name", "sub_graphs[0].nodes[0].block_name"]

    def test_two_graphs_of_one_id_are_a_problem(self) -> None:
        document = self.document()
        document["sub_graphs"] *= 2
        assert [p.path for p in refused(document)] == ["sub_graphs[1].id"]

    def test_they_hold_no_others_and_are_not_too_many(self) -> None:
        document = self.document()
        document["sub_graphs"][0]["sub_graphs"] = [own()]
        assert [p.path for p in refused(document)] == ["sub_graphs[0].sub_graphs"]
        too_many = {**own(), "sub_graphs": [own()] * (MAX_SUB_GRAPHS + 1)}
        assert [p.path for p in refused(too_many)] == ["sub_graphs"]


class TestBadShape:
    @pytest.mark.parametrize(
        "document", [None, True, 5, 1.5, "graph", [], [own()], {"graph": None}, {"graph": [own()]}, {"graph": 5}]
    )
    def test_what_is_no_graph_is_refused(self, document: Any) -> None:
        (problem,) = refused(document)
        assert "no graph" in problem.message

    def test_every_wrong_field_is_told_at_once(self) -> None:
        document = {
            "id": 5,
            "version": True,
            "name": ["a"],
            "description": {},
            "is_active": "yes",
            "nodes": [
                7,
                {"id": [], "block_name": 1, "block_id": 2, "input_default": [], "metadata": "m", "input_links": {}},
            ],
            "links": [None, {"id": 1, "source_id": ONE, "is_static": "no"}],
            "sub_graphs": [1],
        }
        paths = {problem.path for problem in refused(document)}
        assert paths >= {"id", "version", "name", "description", "is_active", "sub_graphs[0]", "nodes[0]", "links[0]"}
        assert paths >= {f"nodes[1].{k}" for k in ("id", "block_name", "block_id", "input_default", "metadata")}
        assert paths >= {"nodes[1].input_links", "links[1].id", "links[1].is_static", "links[1].source_name"}

    def test_policies_are_read(self) -> None:
        document = own()
        document["policy"] = {"timeout_seconds": 60, "max_concurrent_executions": 1}
        document["nodes"][0]["policy"] = {"timeout_seconds": 5, "retry": {"attempts": 3, "errors": ["timeout"]}}
        graph = parse_graph(document, REGISTRY, LIMITS).graph

        assert graph.policy == GraphPolicy(timeout_seconds=60, max_concurrent_executions=1)
        assert graph.nodes[0].policy == NodePolicy(
            timeout_seconds=5, retry=RetryPolicy(attempts=3, delay_seconds=1, errors=("timeout",))
        )
        assert graph.nodes[1].policy == NodePolicy()

    def test_every_wrong_part_of_a_policy_is_told(self) -> None:
        document = own()
        document["policy"] = {"timeout_seconds": 0, "max_concurrent": 1}
        document["nodes"][0]["policy"] = {"retry": {"attempts": 0, "errors": [1]}, "timeout_seconds": 1e300}
        document["nodes"][1]["policy"] = "fast"
        found = {problem.path: problem.fix for problem in refused(document)}

        assert set(found) == {
            *("policy.timeout_seconds", "policy.max_concurrent", "nodes[0].policy.retry.attempts"),
            *("nodes[0].policy.retry.errors[0]", "nodes[0].policy.timeout_seconds", "nodes[1].policy"),
        }
        assert found["policy.max_concurrent"] == "did you mean 'max_concurrent_executions'?"

    def test_a_graph_without_nodes_is_told(self) -> None:
        assert [p.path for p in refused({})] == ["nodes"]
        assert [p.path for p in refused({"nodes": {}, "links": 1})] == ["nodes", "links"]

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
    def test_text_that_cannot_be_stored_is_told_with_its_place(self, text: str) -> None:
        document = own()
        document["name"] = text
        document["nodes"][0]["input_default"]["a"] = {"deep": [1, text]}
        document["nodes"][1]["metadata"][text] = 1
        document["links"][0]["source_name"] = text
        found = {problem.path for problem in refused(document)}
        assert found >= {"name", "nodes[0].input_default.a.deep[1]", "nodes[1].metadata", "links[0].source_name"}

    def test_a_key_that_cannot_be_stored_is_told_in_storable_words(self) -> None:
        for document in ({**own(), "a\0\ud800": 1}, {"nodes": [{"\0": 1, "block_name": "AnyBlock"}]}):
            (problem,) = refused(document)
            dumps([problem.path, problem.message])
            assert "\0" not in problem.path

    def test_deep_nesting_is_told(self) -> None:
        deep: Any = None
        for _ in range(500):
            deep = [deep]
        document = own()
        document["nodes"][0]["input_default"]["a"] = deep
        (problem,) = refused(document)
        assert problem.path.startswith("nodes[0].input_default.a[0][0]")
        assert "deeper than 100 levels" in problem.message

    def test_numbers_that_no_reader_takes_are_told(self) -> None:
        document = own()
        document["nodes"][0]["input_default"]["a"] = 10**5000
        assert [p.path for p in refused(document)] == ["nodes[0].input_default.a"]
        document["nodes"][0]["input_default"]["a"] = 10**4000
        assert read(document).graph.nodes[0].input_default["a"] == 10**4000

    @pytest.mark.parametrize("version", [0, -1, 2**31, 1.0, True, "1"])
    def test_a_version_that_no_database_holds_is_told(self, version: Any) -> None:
        assert [p.path for p in refused({**own(), "version": version})] == ["version"]

    def test_one_node_more_than_the_limit_is_told_only_that(self) -> None:
        (problem,) = refused({"nodes": [None] * 21, "links": []})
        assert (problem.path, problem.message) == ("nodes", "has 21 nodes, the limit is 20")
        (problem,) = refused({"nodes": [], "links": [None] * 21})
        assert problem.path == "links"

    def test_very_many_problems_are_counted_beyond_the_first(self) -> None:
        nodes = [{"block_name": f"No{i}"} for i in range(300)]
        with pytest.raises(InvalidError) as error:
            parse_graph({"nodes": nodes}, REGISTRY, Limits(1000, 1000))
        assert len(error.value.problems) == MAX_PROBLEMS + 1
        assert error.value.problems[-1].message == "and 200 more problems"


_text = st.text(st.characters(exclude_categories=())) | st.sampled_from([ONE, TWO, GRAPH_ID, "AnyBlock", "x", "a", ""])
_keys = (
    _text
    | st.sampled_from(["id", "name", "version", "nodes", "links", "graph", "sub_graphs", "block_id", "block_name"])
    | st.sampled_from(["input_default", "metadata", "input_links", "output_links", "webhook_id", "graph_version"])
    | st.sampled_from(["source_id", "source_name", "sink_id", "sink_name", "is_static", "graph_id", "inputs"])
    | st.sampled_from(["a", "rows", "rows_$_1", "fields_#_k"])
)
_scalars = st.none() | st.booleans() | st.integers() | st.just(-(10**4000)) | st.floats(allow_nan=False) | _text
_json = st.recursive(_scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(_keys, v, max_size=6), max_leaves=25)


def _either_way(document: Any, new_ids: bool) -> None:
    try:
        parsed = read(document, new_ids=new_ids)
    except InvalidError as error:
        dumps([[p.path, p.message, p.fix] for p in error.problems])
        return
    for graph in (parsed.graph, *parsed.sub_graphs):
        assert read(json.loads(dumps(graph.model_dump(mode="json")))).graph == graph
    dumps([[p.path, p.message, p.fix] for p in parsed.warnings])


@settings(max_examples=250, deadline=None, database=None)
@given(_json, st.booleans())
def test_reading_never_throws_anything_else_on_any_json(document: Any, new_ids: bool) -> None:
    _either_way(document, new_ids)


@settings(max_examples=250, deadline=None, database=None)
@given(
    st.sampled_from(["own", "export", "sub_graphs"]), st.lists(_json, min_size=1, max_size=3), st.booleans(), st.data()
)
def test_reading_never_throws_anything_else_on_a_damaged_graph(
    form: str, damage: list[Any], new_ids: bool, data: st.DataObject
) -> None:
    document = {"own": own, "export": export, "sub_graphs": TestSubGraphs().document}[form]()
    for value in damage:
        place: Any = document
        while True:
            steps = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not steps:
                break
            step = data.draw(st.sampled_from(steps) | _keys if isinstance(place, dict) else st.sampled_from(steps))
            inner = place.get(step) if isinstance(place, dict) else place[step]
            if isinstance(inner, dict | list) and data.draw(st.integers(0, 3)):
                place = inner
                continue
            place[step] = copy.deepcopy(value)
            break
    _either_way(document, new_ids)
