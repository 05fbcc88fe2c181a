"""What Prometheus reads from a running server, all its processes together."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from running_server import Server
from test_restart import slow_graph

Start = Callable[..., AbstractContextManager[Server]]
Samples = dict[tuple[str, ...], float]

GRAPH: dict[str, Any] = {
    "name": "two nodes",
    "nodes": [
        {"id": "a", "block_name": "ValueBlock", "input_default": {"input": "Hello"}},
        {"id": "b", "block_name": "AgentOutputBlock", "input_default": {"name": "text"}},
    ],
    "links": [{"id": "l", "source_id": "a", "source_name": "output", "sink_id": "b", "sink_name": "value"}],
}


def read(server: Server, path: str = "/metrics") -> Samples:
    answer = httpx.get(server.url + path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def wait_for(server: Server, is_true: Callable[[Samples], bool]) -> Samples:
    end = time.monotonic() + 20
    while not is_true(found := read(server)):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_counts_add_up_over_processes_and_never_go_back_when_an_executor_is_replaced(
    start_server: Start, tmp_path: Path, empty_url: str
) -> None:
    with start_server(tmp_path, empty_url) as server:
        # given executions that have ended
        graph_id = server.store(GRAPH, new_ids="true")["id"]
        ids = server.client.post(f"/graphs/{graph_id}/execute/batch", {"inputs": [{}] * 200})["ids"]
        single = server.submit(graph_id, {})
        for execution_id in (*ids, single):
            assert server.wait(execution_id)["status"] == "COMPLETED"

        # then everything was counted, once
        before = read(server)
        assert before["autogpt_executions_accepted_total",] == 201
        assert before["autogpt_executions_total", "COMPLETED"] == 201
        assert before["autogpt_node_executions_total", "COMPLETED"] == 402
        assert before["autogpt_claim_lag_seconds_count",] == 201
        assert before["autogpt_commit_rows_sum", "record"] >= 201 + 402
        assert before["autogpt_commit_rows_sum", "accept"] == 201
        assert 0 < before["autogpt_commit_seconds_sum", "record"] < 60
        assert before["autogpt_http_request_seconds_count", "POST", "/api/graphs/{graph_id}/execute", "202"] == 1
        assert before["autogpt_http_request_seconds_count", "POST", "/api/graphs/{graph_id}/execute/batch", "202"] == 1
        assert before["autogpt_queue_depth", "QUEUED"] == before["autogpt_queue_depth", "RUNNING"] == 0
        assert before["autogpt_processes", "Executor"] == 2
        assert before["autogpt_processes", "AgentServer"] == before["autogpt_processes", "ExecutionManager"] == 1
        assert before["autogpt_database_up",] == 1
        assert read(server, "/api/metrics").keys() >= before.keys()

        # and health is green, with the ages of what was done last
        health = server.client.get("/health")
        assert (health["status"], health["problems"]) == ("ok", [])
        executors = [one for one in health["processes"] if one["process"] == "Executor"]
        assert all(one["last_beat_seconds"] < 10 for one in executors)
        assert any(one["last_claim_seconds"] is not None for one in executors)
        assert any(one["last_commit_seconds"] is not None for one in executors)

        # when an executor is killed
        os.kill(executors[0]["pid"], signal.SIGKILL)
        after = wait_for(
            server,
            lambda found: (
                found["autogpt_process_starts_total", "Executor"] == 3 and found["autogpt_processes", "Executor"] == 2
            ),
        )

        # then its successor goes on where it was
        assert after["autogpt_executor_deaths_total",] == 1
        for key, value in before.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert after[key] >= value, key
        assert server.wait(server.submit(graph_id, {}))["status"] == "COMPLETED"
        assert read(server)["autogpt_executions_total", "COMPLETED"] == 202

        # and what is stopped, running or not, is counted; who waits for its end is told in time
        told = after.get(("autogpt_event_lag_seconds_count",), 0)
        running = server.submit(server.store(slow_graph(600), new_ids="true")["id"], {"number": 1})
        wait_for(server, lambda found: found["autogpt_queue_depth", "RUNNING"] == 1)
        threading.Timer(0.3, lambda: httpx.post(f"{server.url}/api/executions/{running}/stop").close()).start()
        assert server.wait(running)["status"] == "TERMINATED"
        found = wait_for(server, lambda found: found["autogpt_event_lag_seconds_count",] > told)
        assert found["autogpt_executions_total", "TERMINATED"] == 1
        assert found["autogpt_node_executions_total", "TERMINATED"] == 1
