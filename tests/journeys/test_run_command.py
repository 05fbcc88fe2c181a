"""``autogpt run`` as people start it: its own process, with a server of its own or beside a running one."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autogpt_server.model.ids import DEFAULT_USER_ID

ROOT = Path(__file__).parents[2]
SALES = ROOT / "examples" / "sales_report"

#: Seconds for one command, its own server included.
LIMIT = 60


def graph(name: str, *nodes: tuple[str, dict], links: tuple[tuple[int, str, int, str], ...] = ()) -> dict:
    ids = [f"d1000000-0000-4000-8000-{i:012d}" for i in range(len(nodes))]
    return {
        "name": name,
        "nodes": [
            {"id": id_, "block_name": block, "input_default": default}
            for id_, (block, default) in zip(ids, nodes, strict=True)
        ],
        "links": [
            {"source_id": ids[source], "source_name": pin, "sink_id": ids[sink], "sink_name": sink_pin}
            for source, pin, sink, sink_pin in links
        ],
    }


FAILING = graph("Failing", ("RaiseErrorBlock", {"message": "No more ink."}))


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "autogpt_server.cli.main", *map(str, arguments)]


@pytest.fixture
def server(sqlite_server):
    """What the command line does is the same on every database."""
    return sqlite_server


@pytest.fixture
def cli(server, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command beside the running server."""
    env = server.env | {"COLUMNS": "200"}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        arguments += ("--url", server.url)
        return subprocess.run(command(*arguments), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)

    return run


def test_without_a_server_one_runs_for_the_length_of_the_command(tmp_path, journey_environment):
    # given a fresh folder and no server
    env = journey_environment(tmp_path / "data", "file:database.db", COLUMNS="200", AUTOGPT_PORT="1")

    # when the README's example is run
    arguments = ["run", SALES / "graph.json", "--file", SALES / "orders.csv", "--follow"]
    result = subprocess.run(command(*arguments), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)

    # then it says so, prints a line for each node, and the outputs as a table
    assert result.returncode == 0, result.stderr
    assert "No server answers at http://127.0.0.1:1: starting one for this run" in result.stderr
    assert "✓ Read orders" in result.stderr
    assert "… and 1,195 more of Put total back" in result.stderr
    assert "✓ COMPLETED" in result.stderr
    assert "| West | 19750.10 € |" in result.stdout
    assert (tmp_path / "data" / "files" / DEFAULT_USER_ID / "sales-report.md").exists()

    # and nothing of the server is left, so the next one starts, and the same graph is no new version
    again = subprocess.run(
        command(*arguments[:-1], "--json"), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT
    )
    execution = json.loads(again.stdout)
    assert (execution["status"], execution["graph_version"]) == ("COMPLETED", 1)


def test_hello_beside_a_running_server(cli):
    result = cli("run", ROOT / "examples" / "hello.json", "--follow")

    assert result.returncode == 0, result.stderr
    assert "Hello, World!" in result.stdout
    assert result.stderr.count("✓") == 6  # five nodes and the end


def test_what_a_node_streams_is_told_before_its_end(cli, tmp_path):
    (tmp_path / "songs.txt").write_text("one\ntwo\nthree\nfour\nfive\nsix\n")
    (tmp_path / "graph.json").write_text(json.dumps(graph("Lines", ("ReadLinesBlock", {"path": "songs.txt"}))))

    result = cli("run", "graph.json", "--file", "songs.txt", "--follow")

    assert result.returncode == 0, result.stderr
    told = [line.strip() for line in result.stderr.splitlines() if "ReadLinesBlock" in line]
    assert "▸ ReadLinesBlock  line: one" in told
    assert "line: six" not in result.stderr  # few lines each, the others are counted
    assert told[-1].startswith("… and")


def test_a_changed_file_is_the_next_version_and_an_unchanged_one_is_not(cli, tmp_path):
    file = tmp_path / "graph.json"
    versions = []
    for text in ("one", "one", "two", "two", "one"):
        document = graph("Versions", ("ValueBlock", {"input": text})) | {"id": "d1000000-0000-4000-8000-00000000f00d"}
        file.write_text(json.dumps(document))
        versions.append(json.loads(cli("run", file, "--follow", "--json").stdout)["graph_version"])

    assert versions == [1, 1, 2, 2, 3]


def test_inputs_come_from_options_and_from_a_file(cli, tmp_path):
    sum_ = graph(
        "Sum",
        ("AgentInputBlock", {"name": "a"}),
        ("AgentInputBlock", {"name": "b"}),
        ("CalculatorBlock", {"operation": "Add"}),
        ("AgentOutputBlock", {"name": "sum"}),
        links=((0, "result", 2, "a"), (1, "result", 2, "b"), (2, "result", 3, "value")),
    )
    (tmp_path / "sum.json").write_text(json.dumps(sum_))
    (tmp_path / "inputs.json").write_text('{"a": 1, "b": 2}')

    result = cli("run", "sum.json", "--input-file", "inputs.json", "-i", "b=40", "-f", "--json")

    assert json.loads(result.stdout)["outputs"] == {"sum": [41]}
    assert result.stderr == ""


def test_a_failed_execution_is_exit_code_1_and_names_the_error(cli, tmp_path):
    (tmp_path / "failing.json").write_text(json.dumps(FAILING))

    result = cli("run", "failing.json", "--follow")

    assert result.returncode == 1
    assert "FAILED" in result.stderr
    assert "No more ink." in result.stderr


def test_what_blocks_print_is_shown_where_it_is_asked_for(cli, tmp_path):
    (tmp_path / "talking.json").write_text(json.dumps(graph("Talking", ("PrintToConsoleBlock", {"text": "Psst."}))))
    execution_id = json.loads(cli("run", "talking.json", "--follow", "--json").stdout)["id"]

    logged = [line for line in cli("execution", "show", execution_id, "--logs").stdout.splitlines() if " info " in line]
    assert len(logged) == 1
    assert "PrintToConsoleBlock" in logged[0]
    assert "Psst." in logged[0]
    assert " info " not in cli("execution", "show", execution_id).stdout

    (tmp_path / "quiet.json").write_text(json.dumps(graph("Quiet", ("ValueBlock", {"input": 1}))))
    execution_id = json.loads(cli("run", "quiet.json", "--follow", "--json").stdout)["id"]
    assert "No block printed or logged anything." in cli("execution", "show", execution_id, "--logs").stderr


def test_refused_inputs_are_exit_code_2_and_named(cli):
    result = cli("run", ROOT / "examples" / "news_digest" / "graph.json", "--input", "fed=http://x")

    assert (result.returncode, result.stdout) == (2, "")
    assert "fed" in result.stderr
    assert "feed" in result.stderr


def test_an_unknown_graph_is_exit_code_2(cli):
    result = cli("run", "d1000000-0000-4000-8000-0000000000ff")
    assert result.returncode == 2
    assert "not found" in result.stderr


def test_without_follow_it_prints_the_id_and_the_rest_of_the_commands_find_it(cli):
    started = cli("run", ROOT / "examples" / "hello.json")
    execution_id = started.stdout.strip()
    assert f"autogpt execution show {execution_id}" in started.stderr

    followed = cli("execution", "show", execution_id, "--follow")
    assert "Hello, World!" in followed.stdout
    assert "Combine" in cli("execution", "show", execution_id).stdout
    assert json.loads(cli("execution", "show", execution_id, "--json").stdout)["status"] == "COMPLETED"
    assert execution_id in cli("execution", "list").stdout
    graph_id = json.loads((ROOT / "examples" / "hello.json").read_text())["id"]
    listed = json.loads(cli("execution", "list", "--graph", graph_id, "--json").stdout)
    assert execution_id in [one["id"] for one in listed]
    assert "COMPLETED" in cli("execution", "stop", execution_id).stdout


def test_ctrl_c_leaves_the_execution_running_and_says_how_to_look_at_it(server, cli, tmp_path):
    # given a graph that waits until it is stopped
    waiting = graph(
        "Waiting",
        ("ValueBlock", {"input": 1}),
        ("WaitBlock", {"seconds": 600}),
        links=((0, "output", 1, "input_message"),),
    )
    (tmp_path / "waiting.json").write_text(json.dumps(waiting))
    arguments = command("run", "waiting.json", "--follow", "--url", server.url)
    process = subprocess.Popen(
        arguments,
        env=server.env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    with process:
        while "✓ ValueBlock" not in process.stderr.readline():
            pass

        # when
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=LIMIT)

    # then
    assert process.returncode == 130
    assert "the execution goes on" in told
    execution_id = told.split("autogpt execution show ")[1].split()[0]
    assert server.client.get(f"/executions/{execution_id}")["status"] == "RUNNING"

    # and it can be stopped from here
    assert cli("execution", "stop", execution_id).returncode == 0
    assert server.wait(execution_id)["status"] == "TERMINATED"


def test_graphs_travel_out_and_in_again(cli, tmp_path):
    document = json.loads((ROOT / "examples" / "hello.json").read_text())
    assert "is stored as" in cli("graph", "import", ROOT / "examples" / "hello.json").stdout

    exported = cli("graph", "export", document["id"], "-o", "hello.json")
    assert exported.returncode == 0, exported.stderr
    assert cli("graph", "import", "hello.json", "--new-ids", "--json").returncode == 0

    assert document["id"] in cli("graph", "list").stdout
    shown = cli("graph", "show", document["id"]).stdout
    assert "Combine.combined_text" in shown
    assert json.loads(cli("graph", "export", document["id"], "--version", "1").stdout)["version"] == 1


def test_a_refused_import_prints_every_problem(cli, tmp_path):
    bad = graph("Bad", ("ValueBlok", {}), ("ValueBlock", {"inptu": 1}))
    (tmp_path / "bad.json").write_text(json.dumps(bad))

    result = cli("graph", "import", "bad.json")

    assert result.returncode == 2
    assert "ValueBlok" in result.stderr
    assert "inptu" in result.stderr


def test_files_go_to_a_server_of_the_same_folder_only(cli, server, tmp_path, monkeypatch):
    (tmp_path / "note.txt").write_text("Hello")
    read = graph("Read", ("ReadFileBlock", {"path": "note.txt"}), ("AgentOutputBlock", {"name": "text"}),
                 links=((0, "content", 1, "value"),))  # fmt: skip
    (tmp_path / "read.json").write_text(json.dumps(read))

    assert "Hello" in cli("run", "read.json", "--file", "note.txt", "--follow").stdout

    monkeypatch.setitem(server.env, "AUTOGPT_DATA_DIR", str(tmp_path / "elsewhere"))
    elsewhere = subprocess.run(
        command("run", "read.json", "--file", "note.txt", "--url", server.url),
        env=server.env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert elsewhere.returncode == 2
    assert "AUTOGPT_DATA_DIR" in elsewhere.stderr


def test_a_server_at_another_address_is_told_instead_of_starting_a_second_one(server):
    env = server.env | {"AUTOGPT_PORT": "1"}
    result = subprocess.run(
        command("run", ROOT / "examples" / "hello.json"), env=env, capture_output=True, text=True, timeout=LIMIT
    )
    assert result.returncode == 1
    assert "--url" in result.stderr


def test_doctor_finds_the_server_well(cli):
    result = cli("doctor")
    assert result.returncode == 0, result.stdout
    assert "✓ Server" in result.stdout
    assert "answers at" in result.stdout


def test_a_killed_command_leaves_no_server_behind(tmp_path, journey_environment):
    env = journey_environment(tmp_path / "data", "file:database.db", AUTOGPT_PORT="1")
    waiting = graph("Waiting", ("WaitBlock", {"seconds": 600}))
    (tmp_path / "waiting.json").write_text(json.dumps(waiting))
    process = subprocess.Popen(
        command("run", "waiting.json", "--follow"), env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process:
        while "WaitBlock" not in process.stderr.readline():
            pass
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        process.kill()

    for child in children:
        # It is no child of ours: its entry in /proc tells when it has gone.
        descriptor = os.pidfd_open(int(child))
        try:
            assert select.select([descriptor], [], [], LIMIT)[0]
        finally:
            os.close(descriptor)
