"""Which recorded ends a rerun keeps: on random graphs, and where graph or inputs were edited."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogpt_server.errors import InvalidError
from autogpt_server.model.compiled import CompiledGraph
from autogpt_server.model.graph import Graph
from autogpt_server.model.pins import base_name
from autogpt_server.model.rerun import Kept, Rerun, keep
from autogpt_server.model.wiring import NodeEnd, StreamedOutput, Wiring
from tests.model.model_blocks import COMPLETED, FAILED, REGISTRY, TERMINATED, build
from tests.model.test_wiring_properties import LIMIT, Simulation, _check_consumption, random_graph, stored

seeds = st.integers(0, 2**64)


def kept(
    original: Graph,
    records: list[NodeEnd],
    from_node: str | None = None,
    graph: Graph | None = None,
    streamed: list[StreamedOutput] | None = None,
    **inputs: Any,
) -> Kept:
    graph = graph or original
    rerun = Rerun(original, graph, CompiledGraph.compile(graph, REGISTRY), inputs, from_node, LIMIT)
    return keep(rerun, [stored(record) for record in records], streamed or [])


def reached(graph: Graph, first: str) -> set[str]:
    found = {first}
    while more := {k.sink_id for k in graph.links if k.source_id in found} - found:
        found |= more
    return found


@settings(max_examples=400, deadline=None, database=None)
@given(seeds, st.data())
def test_what_is_kept_replays_and_goes_on_to_an_end_that_hangs_together(seed: int, data: st.DataObject) -> None:
    graph = random_graph(Random(seed))
    first = Simulation(graph, Random(seed), 1)
    first.run()
    from_node = data.draw(st.sampled_from([None, *sorted(node.id for node in graph.nodes)]))
    length = data.draw(st.sampled_from(sorted(first.states)))
    records, streamed = first.recorded(*length)
    taken = kept(graph, records, from_node, streamed=streamed)

    # The same ends, in the order and with the inputs of then; and they replay: a new execution could have had them.
    by_ordinal = {record.ordinal: record for record in records}
    for ordinal, end in taken.ends:
        then = by_ordinal[ordinal]
        assert replace(end, ordinal=0, sequence=0) == replace(then, ordinal=0, sequence=0, streamed=end.streamed)
    ends, outputs = [stored(end) for _, end in taken.ends], [output for _, output in taken.outputs]
    second = Simulation(graph, Random(seed + 1), 2, ends, outputs)
    second.run()
    assert [record.sequence for record in second.records] == list(range(1, len(second.records) + 1))
    _check_consumption(graph, second)

    handling = {link.source_id for link in graph.links if base_name(link.source_name) == "error"}
    failed = {r.node_id for r in records if r.status is FAILED and r.node_id not in handling}
    unended = {output.node_id for output in streamed if output.ordinal not in by_ordinal}
    lacking = failed | unended | ({from_node} if from_node else set())
    again = set[str]().union(*(reached(graph, node) for node in lacking))
    # Whatever neither the node nor what lacks a result leads to is kept, every end of it.
    must = [record.ordinal for record in records if record.node_id not in again]
    assert set(must) <= {ordinal for ordinal, _ in taken.ends}
    if from_node:
        assert reached(graph, from_node).isdisjoint(end.node_id for _, end in taken.ends)
    assert not any(end.status is FAILED and end.node_id not in handling for _, end in taken.ends)


#: Two inputs, each through a node of its own, put together by a third.
DIAMOND = build(
    {
        "ia": ("AgentInputBlock", {"name": "a"}),
        "ib": ("AgentInputBlock", {"name": "b"}),
        "left": ("AnyBlock", {}),
        "right": ("AnyBlock", {"b": 1}),
        "both": ("AnyBlock", {}),
    },
    ["ia.result -> left.a", "ib.result -> right.a", "left.x -> both.a", "right.x -> both.b"],
)


def history(graph: Graph, failing: str | None = None, **inputs: Any) -> list[NodeEnd]:
    """Run a graph in which every node yields its own name."""
    wiring = Wiring(CompiledGraph.compile(graph, REGISTRY), inputs, LIMIT)
    wiring.start()
    records: list[NodeEnd] = []
    while (node := wiring.take_next()) is not None:
        pin = "x" if node.block.name == "AnyBlock" else "result"
        value = node.inputs.get("value", node.node_id)
        how = (FAILED, [], "broken") if node.node_id == failing else (COMPLETED, [(pin, value)], None)
        end = wiring.end(node.ordinal, *how)
        wiring.deliver(end)
        records.append(end)
    return records


def names(taken: Kept) -> set[str]:
    return {end.node_id for _, end in taken.ends}


def edited(graph: Graph, node_id: str, **changes: Any) -> Graph:
    nodes = tuple(n.model_copy(update=changes) if n.id == node_id else n for n in graph.nodes)
    return graph.model_copy(update={"nodes": nodes, "version": 2})


def test_from_a_node_on_everything_that_it_leads_to_runs_again() -> None:
    records = history(DIAMOND, a=1, b=2)
    assert names(kept(DIAMOND, records, "left", a=1, b=2)) == {"ia", "ib", "right"}
    assert names(kept(DIAMOND, records, "both", a=1, b=2)) == {"ia", "ib", "left", "right"}
    assert names(kept(DIAMOND, records, None, a=1, b=2)) == {"ia", "ib", "left", "right", "both"}


def test_without_a_node_what_failed_or_was_stopped_runs_again() -> None:
    records = history(DIAMOND, failing="right", a=1, b=2)
    assert names(kept(DIAMOND, records, None, a=1, b=2)) == {"ia", "ib", "left"}
    # A failure is not kept either where another node was named.
    assert names(kept(DIAMOND, records, "left", a=1, b=2)) == {"ia", "ib"}
    # Neither is what a death or a stop of the execution wrote in a node's place.
    records = history(DIAMOND, a=1, b=2)
    for end in ({"status": TERMINATED, "outputs": []}, {"status": FAILED, "outputs": [], "error": "died"}):
        assert "both" not in names(kept(DIAMOND, [*records[:-1], replace(records[-1], **end)], None, a=1, b=2))


def test_edited_inputs_run_what_they_reach_again() -> None:
    records = history(DIAMOND, a=1, b=2)
    assert names(kept(DIAMOND, records, None, a=1, b=3)) == {"ia", "left"}
    assert names(kept(DIAMOND, records, "right", a=1, b=3)) == {"ia", "left"}
    with pytest.raises(InvalidError) as refusal:
        kept(DIAMOND, records, "left", a=1, b=3)
    (problem,) = refusal.value.problems
    assert problem.path == "from_node_id"
    assert problem.message.startswith("what node right (AnyBlock) recorded cannot be kept: it does not receive")


def test_a_newer_version_keeps_what_still_fits_and_names_the_first_node_that_does_not() -> None:
    records = history(DIAMOND, a=1, b=2)
    newer = edited(DIAMOND, "right", input_default={"b": 5})
    assert names(kept(DIAMOND, records, "right", newer, a=1, b=2)) == {"ia", "ib", "left"}
    assert names(kept(DIAMOND, records, None, newer, a=1, b=2)) == {"ia", "ib", "left"}
    with pytest.raises(InvalidError, match=r"node right \(AnyBlock\) .* has other inputs on b"):
        kept(DIAMOND, records, "both", newer, a=1, b=2)

    other_block = edited(DIAMOND, "right", block_name="ConstantBlock")
    with pytest.raises(InvalidError, match=r"node right \(ConstantBlock\) .* its block was AnyBlock"):
        kept(DIAMOND, records, "both", other_block, a=1, b=2)

    def without(node_id: str) -> Graph:
        links = tuple(k for k in DIAMOND.links if node_id not in (k.source_id, k.sink_id))
        return DIAMOND.model_copy(
            update={"nodes": tuple(n for n in DIAMOND.nodes if n.id != node_id), "links": links, "version": 2}
        )

    with pytest.raises(
        InvalidError, match="what node left recorded cannot be kept: the graph has no node left"
    ) as told:
        kept(DIAMOND, records, "right", without("left"), a=1, b=2)
    # Nothing can be run again from a node that there is not.
    assert [problem.fix for problem in told.value.problems] == ["leave from_node_id out to keep what fits"]
    assert names(kept(DIAMOND, records, "left", without("both"), a=1, b=2)) == {"ia", "ib", "right"}
    with pytest.raises(InvalidError, match="has no node left"):
        kept(DIAMOND, records, "left", without("left"), a=1, b=2)


def test_what_was_led_to_then_runs_again_though_it_is_linked_otherwise_now() -> None:
    records = history(DIAMOND, a=1, b=2)
    unlinked = DIAMOND.model_copy(
        update={"links": tuple(k for k in DIAMOND.links if k.source_id != "left"), "version": 2}
    )
    assert names(kept(DIAMOND, records, "left", unlinked, a=1, b=2)) == {"ia", "ib", "right"}
