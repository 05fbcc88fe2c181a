"""The client of the REST interface, against a small HTTP server that says what each test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autogpt_server.cli.client import ServerClient, is_local, server_url
from autogpt_server.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    Problem,
    ServerError,
    Unavailable,
)
from autogpt_server.settings import Settings


class Stub:
    """Answers in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, bytes]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stub.requests.append((self.command, self.path, dict(self.headers)))
                status, kind, body = stub.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        self.answers.append((status, kind, body.encode() if isinstance(body, str) else json.dumps(body).encode()))


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    thread = threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()
    thread.join()


@pytest.fixture
def client(stub: Stub) -> Iterator[ServerClient]:
    with ServerClient(stub.url) as client:
        yield client


@pytest.mark.parametrize(
    "status,kind",
    [(404, NotFoundError), (409, ConflictError), (422, InvalidError), (413, InvalidError), (503, Unavailable)],
)
def test_a_problem_is_raised_as_the_error_it_came_from(stub, client, status, kind):
    stub.answer(status, {"type": "urn:x", "title": "T", "status": status, "detail": "What is wrong."})

    with pytest.raises(kind, match="What is wrong"):
        client.get("/graphs/1")


def test_every_problem_of_an_answer_is_kept_with_place_and_fix(stub, client):
    errors = [
        {"path": "nodes[0]", "message": "unknown block", "fix": "ValueBlock"},
        {"path": "", "message": "too many"},
    ]
    stub.answer(422, {"title": "T", "status": 422, "detail": "Refused.", "errors": errors})

    with pytest.raises(InvalidError) as error:
        client.post("/graphs", {})

    assert error.value.problems == (Problem("nodes[0]", "unknown block", "ValueBlock"), Problem("", "too many"))


@pytest.mark.parametrize("body", ["<html>gateway</html>", '"text"', '{"errors": [1]}'])
def test_an_error_that_is_no_problem_document_is_told_as_it_is(stub, client, body):
    stub.answer(502, body, "text/html")

    with pytest.raises(ServerError, match="502"):
        client.get("/graphs")


def test_a_server_that_does_not_listen_is_unavailable_and_has_no_health():
    with ServerClient("http://127.0.0.1:1") as client:
        assert client.health() is None
        with pytest.raises(Unavailable, match="autogpt serve"):
            client.get("/graphs")


@pytest.mark.parametrize("status,body", [(200, "hello"), (404, "{}"), (200, "[1]")])
def test_something_else_at_the_address_is_not_taken_for_the_server(stub, client, status, body):
    stub.answer(status, body)

    with pytest.raises(Unavailable, match="not this server"):
        client.health()


def test_lists_are_read_page_by_page_up_to_the_limit(stub, client):
    stub.answer(200, {"items": [{"n": 1}, {"n": 2}], "next_cursor": "abc"})
    stub.answer(200, {"items": [{"n": 3}], "next_cursor": None})

    assert list(client.pages("/graphs", 150)) == [{"n": 1}, {"n": 2}, {"n": 3}]

    assert [path for _, path, _ in stub.requests] == ["/api/graphs?limit=100", "/api/graphs?limit=100&cursor=abc"]


def test_events_go_on_after_a_cut_connection_where_the_last_one_was_seen(stub, client):
    stub.answer(200, 'id: 1\r\ndata: {"sequence": 1}\r\n\r\nid: 2\ndata: {"sequ', "text/event-stream")
    stub.answer(503, {"detail": "Starting."})
    stub.answer(200, ': ping\n\nid: 2\nevent: x\ndata: {"sequence":\ndata: 2}\n\n', "text/event-stream")

    events = client.events("/executions/1/events")

    assert [next(events), next(events)] == [{"sequence": 1}, {"sequence": 2}]
    assert [headers.get("Last-Event-ID") for _, _, headers in stub.requests] == [None, "1", "1"]


def test_events_of_an_unknown_execution_are_an_error(stub, client):
    stub.answer(404, {"detail": "Execution 1 not found."})

    with pytest.raises(NotFoundError):
        next(client.events("/executions/1/events"))


@pytest.mark.parametrize(
    "url,local",
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("https://example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_local_means_this_machine(url, local):
    assert is_local(url) is local


@pytest.mark.parametrize(
    "given,address",
    [
        (None, "http://127.0.0.1:8123"),
        ("http://example.org/", "http://example.org"),
        ("https://example.org/base/api", "https://example.org/base"),
    ],
)
def test_the_address_is_the_one_given_or_that_of_the_settings(given, address, monkeypatch):
    settings = Settings(host="0.0.0.0", port=8123, _env_file=None)
    assert server_url(settings, given) == address


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org", "http://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InvalidError, match="--url"):
        server_url(Settings(_env_file=None), url)
