"""A server that stops, in order or not, loses nothing of what it accepted."""

from __future__ import annotations

import signal
from typing import Any

import pytest


def slow_graph(seconds: float) -> dict[str, Any]:
    """number -> wait -> + 1 -> wait -> output"""
    ids = [f"c1000000-0000-4000-8000-{i:012d}" for i in range(6)]
    nodes = [
        ("AgentInputBlock", {"name": "number"}),
        ("WaitBlock", {"seconds": seconds}),
        ("CalculatorBlock", {"operation": "Add", "b": 1}),
        ("WaitBlock", {"seconds": seconds}),
        ("AgentOutputBlock", {"name": "number"}),
    ]
    links = [
        (1, "result", 2, "input_message"),
        (2, "output_message", 3, "a"),
        (3, "result", 4, "input_message"),
        (4, "output_message", 5, "value"),
    ]
    return {
        "id": ids[0],
        "name": "Slow",
        "nodes": [
            {"id": ids[i], "block_name": block, "input_default": default} for i, (block, default) in enumerate(nodes, 1)
        ],
        "links": [
            {"source_id": ids[source], "source_name": pin, "sink_id": ids[sink], "sink_name": sink_pin}
            for source, pin, sink, sink_pin in links
        ],
    }


# Killed servers on PostgreSQL are the business of tests/faults.
@pytest.mark.parametrize(
    ("number", "empty_url"),
    [(signal.SIGTERM, "sqlite"), (signal.SIGTERM, "postgresql"), (signal.SIGKILL, "sqlite")],
    indirect=["empty_url"],
)
def test_what_was_queued_or_running_at_the_end_completes_after_the_next_start(
    number, empty_url, tmp_path, start_server
):
    # given executions of which a few run and most are queued
    settings = {
        "AUTOGPT_EXECUTOR_CONCURRENCY": "3",
        "AUTOGPT_EXECUTOR_LEASE_SECONDS": "1",
        "AUTOGPT_DRAIN_SECONDS": "0.2",
    }
    with start_server(tmp_path, empty_url, **settings) as server:
        graph = server.store(slow_graph(0.3))
        ids = [server.submit(graph["id"], {"number": n}) for n in range(20)]
        server.wait(ids[0])

        # when
        code = server.stop(number)
    assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)

    # then
    with start_server(tmp_path, empty_url, **settings) as server:
        ended = [server.wait(execution_id) for execution_id in ids]
        assert [one["status"] for one in ended] == ["COMPLETED"] * len(ids)
        assert [one["outputs"] for one in ended] == [{"number": [n + 1]} for n in range(len(ids))]
        for execution_id in ids:
            nodes = server.client.get(f"/executions/{execution_id}", limit=50)["node_executions"]["items"]
            assert sorted(node["sequence"] for node in nodes) == [1, 2, 3, 4, 5]
