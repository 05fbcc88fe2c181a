"""What a service says on the wire, byte by byte: raw HTTP over a socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_processes import BrokenStart, Calculator, Sick
from supervised import LIMIT

from autogpt_server.service.child import ProcessEnded
from autogpt_server.settings import Settings

SECRET = "long random text"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calculator")


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with Calculator(Settings(data_dir=folder), folder) as service:
        yield service.port
    assert service.child.exit_code == 0
    assert (folder / "shut down").exists()


def say(port: int, text: str) -> tuple[str, bytes]:
    """Send bytes as they are; returns status line and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as connection:
        connection.sendall(text.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), body


def post(port: int, method: str, body: str, *headers: str, host: str = "127.0.0.1") -> tuple[str, bytes]:
    lines = [
        f"POST /{method} HTTP/1.1",
        f"Host: {host}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body.encode())}",
        *headers,
    ]
    return say(port, "\r\n".join(lines) + "\r\n\r\n" + body)


OK, BAD, FAILED = "HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request", "HTTP/1.1 500 Internal Server Error"


@pytest.mark.parametrize(
    ("method", "body", "answer"),
    [
        ("add", '{"a": 5, "b": 3}', b"8"),
        ("add", '{"b": 3, "a": "5"}', b"8"),
        ("subtract", '{"a": 10, "b": 4}', b"6"),
        ("subtract", '{"a": 10}', b"9"),
        ("add_async", '{"a": 5, "b": 3}', b"8"),
        ("fun_with_async", '{"a": 5, "b": 3}', b"8"),
        ("nothing", "{}", b"null"),
        ("nothing", "", b"null"),
        (
            "span",
            '{"start": "2024-07-01T12:00:00Z", "points": [{"x": 1}]}',
            b'{"start":"2024-07-01T12:00:00Z","points":[{"x":2,"y":0}]}',
        ),
        ("is_on_loop", "{}", b"true"),
        ("thread_names", "{}", b'["AnyIO worker thread","MainThread"]'),
    ],
)
def test_results_are_plain_json(port: int, method: str, body: str, answer: bytes):
    assert post(port, method, body) == (OK, answer)


@pytest.mark.parametrize(
    ("kind", "status", "answer"),
    [
        ("value", BAD, b'{"type":"ValueError","args":["bad value",3]}'),
        ("not found", BAD, b'{"type":"GraphNotFound","args":["g1",2]}'),
        ("not authorized", BAD, b'{"type":"NotAuthorizedError","args":["not yours"]}'),
        (
            "invalid",
            BAD,
            b'{"type":"InvalidError","args":["no",[{"path":"nodes[0]","message":"is odd","fix":"make it even"}]]}',
        ),
        ("surrogate", BAD, b'{"type":"ValueError","args":["\\\\ud800"]}'),
        ("runtime", FAILED, b'{"type":"RuntimeError","args":["broken"]}'),
        ("key", FAILED, b'{"type":"KeyError","args":["lost"]}'),
        ("timeout", FAILED, b'{"type":"TimeoutError","args":["too slow"]}'),
        ("connection", FAILED, b'{"type":"ConnectionError","args":["gone"]}'),
        ("conflict", FAILED, b'{"type":"ConflictError","args":["already done"]}'),
        ("own", FAILED, b'{"type":"OwnTrouble","args":["what","00000000-0000-0000-0000-000000000007"]}'),
    ],
)
def test_errors_carry_type_and_arguments(port: int, kind: str, status: str, answer: bytes):
    assert post(port, "fail", json.dumps({"kind": kind})) == (status, answer)


def test_passwords_do_not_travel(port: int):
    _, body = post(port, "fail", '{"kind": "secret"}')
    assert body == b'{"type":"RuntimeError","args":["cannot reach postgresql://me:***@host/db with long random text"]}'


@pytest.mark.parametrize(
    ("body", "place", "kind"),
    [
        ('{"a": 5}', ["body", "b"], "missing"),
        ('{"a": 5, "b": "x"}', ["body", "b"], "int_parsing"),
        ('{"a": 5, "b": 3, "c": 1}', ["body", "c"], "extra_forbidden"),
        ("", ["body"], "missing"),
        ("[1, 2]", ["body"], "dict_type"),
        ("{", ["body", 1], "json_invalid"),
    ],
)
def test_arguments_that_do_not_fit_are_422_with_the_place(port: int, body: str, place: list[Any], kind: str):
    status, answer = post(port, "add", body)
    assert status.startswith("HTTP/1.1 422 ")
    (detail,) = json.loads(answer)["detail"]
    assert (detail["loc"], detail["type"]) == (place, kind)


def test_a_web_page_cannot_call_a_service(port: int):
    body = '{"a": 5, "b": 3}'
    head = f"Host: 127.0.0.1\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}"
    assert say(port, f"POST /add HTTP/1.1\r\n{head}\r\n\r\n{body}")[0].startswith("HTTP/1.1 422 ")
    assert say(port, "OPTIONS /add HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")[0].split()[1] == "405"


def test_what_json_cannot_carry_is_an_error_of_the_service(port: int):
    status, body = post(port, "unspeakable", "{}")
    assert status == FAILED
    assert json.loads(body)["type"] == "TypeError"


@pytest.mark.parametrize("method", ["", "run", "cleanup", "get_port", "stop", "docs", "openapi.json"])
def test_what_is_not_exposed_is_not_there(port: int, method: str):
    assert post(port, method, "{}")[0] == "HTTP/1.1 404 Not Found"


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("path", ["health_check", "health_check_async"])
def test_health_is_ok(port: int, verb: str, path: str):
    assert say(port, f"{verb} /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") == (OK, b'"OK"')


def test_a_sick_service_says_so(folder: Path):
    with Sick(Settings(data_dir=folder)) as service:
        for path in ("health_check", "health_check_async"):
            request = f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            assert say(service.port, request) == (FAILED, b'{"type":"RuntimeError","args":["the database is away"]}')


def test_a_service_with_a_secret_answers_only_those_who_know_it(folder: Path):
    with Calculator(Settings(data_dir=folder, rpc_secret=SECRET, pyro_host="0.0.0.0"), folder) as service:
        port, body = service.port, '{"a": 5, "b": 3}'
        refused = (
            "HTTP/1.1 401 Unauthorized",
            json.dumps(
                {"type": "NotAuthorizedError", "args": ["The header x-autogpt-secret is missing or wrong."]},
                separators=(",", ":"),
            ).encode(),
        )
        assert post(port, "add", body) == refused
        assert post(port, "add", body, "X-Autogpt-Secret: long random tex") == refused
        assert post(port, "add", body, f"X-Autogpt-Secret: {SECRET}") == (OK, b"8")
        assert say(port, "GET /health_check HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") == (OK, b'"OK"')
        _, error = post(port, "fail", '{"kind": "secret"}', f"X-Autogpt-Secret: {SECRET}")
        assert SECRET.encode() not in error


@pytest.mark.parametrize(
    ("host", "header", "reason"),
    [
        ("evil.example", "Accept: */*", "The Host header does not name this machine; use 127.0.0.1 or localhost."),
        ("127.0.0.1.evil.example:80", "Accept: */*", "The Host header does not name this machine; "),
        ("", "Accept: */*", "The Host header does not name this machine; "),
        ("localhost", "Origin: https://evil.example", "Requests of pages are not answered here."),
        ("127.0.0.1", "Origin: null", "Requests of pages are not answered here."),
    ],
)
def test_a_page_in_a_browser_of_this_machine_calls_nothing(port: int, host: str, header: str, reason: str):
    status, body = post(port, "add", '{"a": 5, "b": 3}', header, host=host)
    error = json.loads(body)
    assert (status, error["type"]) == ("HTTP/1.1 403 Forbidden", "NotAuthorizedError")
    assert error["args"][0].startswith(reason)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8003", "[::1]:8003", "127.0.0.2"])
def test_every_name_of_this_machine_is_answered(port: int, host: str):
    assert post(port, "add", '{"a": 5, "b": 3}', host=host) == (OK, b"8")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_without_a_secret_a_service_refuses_to_start(
    folder: Path, host: str, capfd: pytest.CaptureFixture[str]
):
    service = Calculator(Settings(data_dir=folder, pyro_host=host), folder)
    service.start(background=True)
    with pytest.raises(ProcessEnded) as caught:
        service.wait_ready()
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_loopback_needs_no_secret(folder: Path, host: str):
    with Calculator(Settings(data_dir=folder, pyro_host=host), folder) as service:
        assert service.wait_ready()["host"] == ("::1" if host == "::1" else "127.0.0.1")


def test_a_service_whose_startup_fails_ends_with_the_error(folder: Path):
    service = BrokenStart(Settings(data_dir=folder))
    service.start(background=True, silent=True)
    with pytest.raises(ProcessEnded, match="exit code 1"):
        service.wait_ready()


def test_a_stop_ends_calls_that_take_long(folder: Path):
    with Calculator(Settings(data_dir=folder), folder) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=LIMIT) as connection:
            connection.sendall(
                b"POST /slow HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
                b"GET /health_check_async HTTP/1.1\r\nHost: [::1]\r\n\r\n"
            )
            assert service.stop() == 0
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
