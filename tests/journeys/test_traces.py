"""Traces arrive at a real OTLP receiver, and cost nothing where none is configured."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from running_server import Server
from test_metrics import GRAPH

Start = Callable[..., AbstractContextManager[Server]]

CALLER = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"


class Receiver:
    """Takes what is posted to ``/v1/traces``, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        with self._changed:
            for resource in request.resource_spans:
                self.services |= {
                    one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
                }
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            self._changed.notify_all()

    def wait_for(self, number: int) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans) >= number, 20), [span.name for span in self.spans]
            return list(self.spans)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_an_execution_is_a_trace_and_its_nodes_are_spans(
    start_server: Start, tmp_path: Path, receiver: Receiver, empty_url: str
) -> None:
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with start_server(tmp_path, empty_url, AUTOGPT_EXECUTOR_PROCESSES="1", **traces) as server:
        # given a graph that executes another one as a part of itself
        part = server.store(GRAPH, new_ids="true")
        whole = server.store(
            {
                "name": "whole",
                "nodes": [
                    {
                        "id": "a1000000-0000-4000-8000-000000000001",
                        "block_name": "AgentExecutorBlock",
                        "input_default": {"graph_id": part["id"], "graph_version": 1, "inputs": {}},
                    }
                ],
                "links": [],
            },
            new_ids="true",
        )

        # when it is executed for somebody who traces
        answer = httpx.post(
            f"{server.url}/api/graphs/{whole['id']}/execute",
            json={},
            headers={"traceparent": f"00-{CALLER}-{CALLERS_SPAN}-01"},
        )
        execution_id = answer.json()["id"]
        assert server.wait(execution_id)["status"] == "COMPLETED"
        spans = receiver.wait_for(6)

    # then there is a trace of each execution, named after it
    roots = {span.trace_id.hex(): span for span in spans if span.name == "execution"}
    root = roots.pop(execution_id.replace("-", ""))
    [(part_trace, part_root)] = roots.items()
    assert attributes(root)["autogpt.execution.id"] == execution_id
    assert attributes(root)["autogpt.status"] == "COMPLETED"
    assert not root.parent_span_id
    # with its nodes below it, in their time
    nodes = {span.name: span for span in spans if attributes(span).get("autogpt.node_execution.id")}
    assert set(nodes) == {"AgentExecutorBlock", "ValueBlock", "AgentOutputBlock"}
    assert nodes["AgentExecutorBlock"].parent_span_id == root.span_id
    assert nodes["ValueBlock"].parent_span_id == nodes["AgentOutputBlock"].parent_span_id == part_root.span_id
    assert root.start_time_unix_nano <= nodes["AgentExecutorBlock"].start_time_unix_nano
    assert nodes["AgentExecutorBlock"].end_time_unix_nano <= root.end_time_unix_nano
    # and a part is linked to what it is a part of
    assert [(link.trace_id, link.span_id) for link in part_root.links] == [(root.trace_id, root.span_id)]
    assert nodes["ValueBlock"].trace_id.hex() == part_trace
    # and the caller's trace leads to the execution's
    [submission] = [span for span in spans if span.trace_id.hex() == CALLER]
    assert submission.parent_span_id.hex() == CALLERS_SPAN
    assert [(link.trace_id, link.span_id) for link in submission.links] == [(root.trace_id, root.span_id)]
    assert receiver.services == {"autogpt-server"}


def test_nothing_of_opentelemetrys_sdk_is_imported_where_traces_are_not_configured() -> None:
    code = (
        "import sys, autogpt_server.executor.executor_process, autogpt_server.server.agent_server\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
