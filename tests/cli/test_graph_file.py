"""Graph files without a server: ``autogpt graph validate``, and when two graphs count as the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autogpt_server.cli.graph_file import read_graph_file, same_content
from autogpt_server.model.graph import Graph
from autogpt_server.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.json"))
EXPORTS = sorted((ROOT / "tests" / "data" / "exports").glob("*.json"))


@pytest.fixture
def hello() -> dict:
    return json.loads((ROOT / "examples" / "hello.json").read_text())


def read(tmp_path: Path, document: object) -> Graph:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(document))
    return read_graph_file(file, Settings(_env_file=None)).parsed.graph


@pytest.mark.parametrize("path", EXAMPLES + EXPORTS, ids=lambda path: path.stem)
def test_every_example_and_export_is_valid(autogpt, path):
    result = autogpt("graph", "validate", path)

    assert result.code == 0, result.err
    assert result.out.startswith("✓ ")


def test_what_an_export_holds_beyond_our_fields_is_named(autogpt):
    result = autogpt("graph", "validate", ROOT / "tests" / "data" / "exports" / "links-inside-nodes.json")
    assert "1 warning:" in result.err
    assert "colour_of_field" in result.err


def test_all_problems_are_printed_at_once_with_place_and_fix(autogpt, tmp_path, hello):
    hello["nodes"][0]["block_name"] = "ValueBlok"
    hello["links"][2]["sink_name"] = "txt"
    (tmp_path / "bad.json").write_text(json.dumps(hello))

    result = autogpt("graph", "validate", "bad.json")

    assert (result.code, result.out) == (1, "")
    assert "ValueBlok" in result.err
    assert "txt" in result.err
    assert "ValueBlock" in result.err.split("fix:")[1]


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, '{"nodes": NaN}', "\udcff"])
@pytest.mark.parametrize("command", [("graph", "validate"), ("graph", "import"), ("run",)], ids=" ".join)
def test_what_is_no_json_is_bad_usage_and_refused_in_words(autogpt, tmp_path, command, content):
    (tmp_path / "bad.json").write_bytes(content.encode("utf-8", "surrogateescape"))

    result = autogpt(*command, "bad.json")

    assert result.code == 2
    assert "Traceback" not in result.err
    assert result.err.startswith("✗")


def test_json_that_is_no_graph_has_problems(autogpt, tmp_path):
    (tmp_path / "bad.json").write_text("3")

    result = autogpt("graph", "validate", "bad.json")

    assert result.code == 1
    assert "Traceback" not in result.err
    assert result.err.startswith("✗")


def test_a_missing_file_is_named(autogpt):
    result = autogpt("graph", "validate", "nowhere.json")
    assert result.code == 2
    assert "nowhere.json" in result.err


def test_an_export_that_cannot_be_written_names_the_option(autogpt, tmp_path, monkeypatch, hello):
    monkeypatch.setattr("autogpt_server.cli.graph._get", lambda *_: hello)

    result = autogpt("graph", "export", hello["id"], "-o", tmp_path / "nowhere" / "x.json")

    assert (result.code, result.out) == (2, "")
    assert "--output" in result.err
    assert "No such file" in result.err


def test_a_graph_without_an_id_gets_one_that_its_content_decides(tmp_path, hello):
    del hello["id"]
    first = read(tmp_path, hello)
    again = read(tmp_path, {"graph": hello})
    changed = read(tmp_path, hello | {"name": "Another"})

    assert first.id == again.id != changed.id


def test_order_versions_and_link_ids_do_not_make_a_graph_another(tmp_path, hello):
    shuffled = hello | {
        "version": 7,
        "nodes": hello["nodes"][::-1],
        "links": [{key: value for key, value in link.items() if key != "id"} for link in hello["links"][::-1]],
    }
    assert same_content(read(tmp_path, hello), read(tmp_path, shuffled))


@pytest.mark.parametrize("change", ["name", "default", "link", "metadata"])
def test_everything_else_does(tmp_path, hello, change):
    before = read(tmp_path, hello)
    match change:
        case "name":
            hello["name"] = "Another"
        case "default":
            hello["nodes"][0]["input_default"]["input"] = "Bye"
        case "link":
            hello["links"].pop()
        case _:
            hello["nodes"][0]["metadata"]["title"] = "Farewell"
    assert not same_content(before, read(tmp_path, hello))


def test_bad_graphs_are_refused_before_a_server_is_asked(autogpt, tmp_path, hello):
    hello["nodes"][0]["block_name"] = "ValueBlok"
    (tmp_path / "bad.json").write_text(json.dumps(hello))

    result = autogpt("run", "bad.json")

    assert result.code == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("target", ["nowhere.json", "not-a-uuid"])
def test_what_is_neither_file_nor_id_is_bad_usage(autogpt, target):
    result = autogpt("run", target)
    assert result.code == 2
    assert target in result.err


def test_no_two_graphs_of_examples_and_documentation_share_an_id(hello):
    pages = [ROOT / "docs" / "graphs.md", ROOT / "docs" / "getting-started.md"]
    documented = [json.loads(page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]) for page in pages]
    ids = [graph["id"] for graph in documented] + [json.loads(path.read_text())["id"] for path in EXAMPLES]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("page", ["graphs.md", "getting-started.md"])
def test_the_graphs_of_the_documentation_are_valid(autogpt, tmp_path, page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    graphs = [part for part in (end.split("```")[0] for end in text.split("```json\n")[1:]) if '"nodes"' in part]
    assert graphs
    for graph in graphs:
        (tmp_path / "graph.json").write_text(graph)
        result = autogpt("graph", "validate", "graph.json")
        assert result.code == 0, result.err
