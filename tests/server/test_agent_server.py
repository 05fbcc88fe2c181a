"""The process, over real sockets."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from autogpt_server.server.agent_server import AgentServer
from autogpt_server.settings import Settings


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[AgentServer, httpx.Client]]:
    server = AgentServer(settings.model_copy(update={"port": 0}))
    server.start(background=True)
    try:
        facts = server.wait_ready()
        with httpx.Client(base_url=f"http://{facts['host']}:{facts['port']}", timeout=20, trust_env=False) as http:
            yield server, http
    finally:
        server.stop()


@pytest.fixture(scope="module")
def served(server_settings: Settings) -> Iterator[tuple[AgentServer, httpx.Client]]:
    with serving(server_settings) as served:
        yield served


def test_it_answers_on_the_port_that_it_tells(served: tuple[AgentServer, httpx.Client]):
    _, http = served
    assert http.get("/api/blocks").status_code == 200
    assert "server" not in http.get("/api/blocks").headers


@pytest.mark.parametrize("announced", [True, False])
def test_100_mb_are_refused_and_the_answer_arrives(served: tuple[AgentServer, httpx.Client], announced: bool):
    _, http = served
    megabyte = b" " * (1 << 20)
    headers = {"Content-Length": str(100 << 20)} if announced else {}

    answer = http.post("/api/graphs", content=(megabyte for _ in range(100)), headers=headers)

    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert http.get("/api/blocks?limit=1").status_code == 200


def test_a_body_that_is_announced_too_long_is_refused_before_it_is_sent(served: tuple[AgentServer, httpx.Client]):
    _, http = served
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), 10) as connection:
        connection.sendall(b"POST /api/graphs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /api/blocks HTTP/7.7\r\nHost: localhost\r\n\r\n",
        b"GET /api/blocks HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n",
        b"GET /api/blocks HTTP/1.1\r\nHost: localhost\r\na b: c\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/graphs HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /api/graphs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    ],
)
def test_what_is_no_http_is_answered_with_a_problem(served: tuple[AgentServer, httpx.Client], request_: bytes):
    _, http = served
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), 10) as connection:
        connection.sendall(request_)
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head and b"connection: close" in head
    assert b"content-length: %d" % len(body) in head
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == ("urn:autogpt:problem:malformed", 400)
    assert "no HTTP request" in problem["detail"]
    assert http.get("/api/blocks?limit=1").status_code == 200


def test_its_streams_end_when_it_stops(server_settings: Settings):
    with serving(server_settings) as (server, http):
        # given an execution that nobody executes, and a client that follows it
        graph = {
            "nodes": [{"id": "00000000-0000-4000-8000-000000000001", "block_name": "ValueBlock",
                       "input_default": {"input": 1}}],
            "links": [],
        }  # fmt: skip
        graph_id = http.post("/api/graphs", json=graph).json()["id"]
        execution_id = http.post(f"/api/graphs/{graph_id}/execute", json={}).json()["id"]
        with http.stream("GET", f"/api/executions/{execution_id}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "id: 1"
            assert json.loads(next(lines).removeprefix("data: "))["execution"]["status"] == "QUEUED"

            # when the server is asked to stop
            server.child.send_signal(signal.SIGTERM)

            # then the stream ends in order, and the process too
            assert list(lines) == [""]
        assert server.child.wait_gone(10) == 0
