"""Graphs that the original exported, of several years, are imported unchanged and do what they did there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

EXPORTS = Path(__file__).parents[1] / "data" / "exports"


@pytest.mark.parametrize(
    "name,inputs,outputs",
    [
        ("calculator-agent", {"Input": 8}, {"Output": [42]}),
        ("greeting-2024", {"language": "de"}, {"greeting": ["Guten Tag, World!"]}),
        ("links-inside-nodes", {"side": 3}, {"volume": [90]}),
        ("sub-graph", {"N": 8}, {"Out": [42]}),
        ("links-inside-nodes", {"side": 3, "height": 2}, {"volume": [18]}),
    ],
)
def test_an_export_gives_what_it_gave(server, name, inputs, outputs):
    execution = server.execute(json.loads((EXPORTS / f"{name}.json").read_text()), inputs)

    assert execution["status"] == "COMPLETED", execution["error"]
    assert execution["outputs"] == outputs


def test_what_is_not_known_here_is_named_in_warnings(server):
    stored = server.store(json.loads((EXPORTS / "links-inside-nodes.json").read_text()))

    assert [warning["path"] for warning in stored["warnings"]] == ["nodes[0].input_default.colour_of_field"]


def test_an_export_may_be_stored_beside_itself_under_new_ids(server):
    document = json.loads((EXPORTS / "calculator-agent.json").read_text())

    stored = server.store(document, new_ids="true")

    assert stored["id"] != document["id"]
    assert server.wait(server.submit(stored["id"], {"Input": -34}))["outputs"] == {"Output": [0]}
