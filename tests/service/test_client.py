from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sample_processes import Arithmetic, Calculator, Point
from supervised import LIMIT

from autogpt_server.errors import (
    ConflictError,
    GraphNotFound,
    InvalidError,
    NotAuthorizedError,
    Problem,
    ServerError,
    Unavailable,
)
from autogpt_server.service.client import close_client, endpoint_to_async, endpoint_to_sync, get_service_client
from autogpt_server.service.connections import Connections
from autogpt_server.service.wire import AnswerLost, CallTimeout, RemoteCallError, ServiceUnavailable
from autogpt_server.settings import Settings


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calculator]:
    folder = tmp_path_factory.mktemp("calculator")
    with Calculator(Settings(data_dir=folder), folder) as service:
        yield service


@pytest.fixture
async def client(service: Calculator):
    client = get_service_client(Calculator, Settings(), port=service.port)
    yield client
    await close_client(client)


class Scripted:
    """A server that answers each connection with the next of some bytes, and counts what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = 0
        self._answers = answers
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(LIMIT)
                while b"}" not in connection.recv(65536):
                    pass
                self.requests += 1
                if answer == b"late":
                    connection.recv(1)
                else:
                    connection.sendall(answer)

    def close(self) -> int:
        self._thread.join(LIMIT)
        self.listener.close()
        return self.requests


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status.encode(), len(body), body)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_the_seeds_sums(client: Calculator):
    assert client.add(5, 3) == 8
    assert client.subtract(10, 4) == 6
    assert client.fun_with_async(5, 3) == 8


def test_arguments_go_by_position_and_name_with_defaults_and_rich_types(client: Calculator):
    from datetime import UTC, datetime

    now = datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert client.subtract(b=4, a=10) == 6
    assert client.subtract(10) == 9
    assert client.span(now, [Point(x=1)]).points == [Point(x=2)]
    assert client.span(now, []).start == now
    assert client.nothing() is None
    assert client.health_check() == "OK"


def test_arguments_that_do_not_fit_fail_like_a_call_here(client: Calculator):
    with pytest.raises(TypeError, match=r"add\(\): missing a required argument: 'b'"):
        client.add(5)  # type: ignore[call-arg]
    with pytest.raises(RemoteCallError, match="422") as caught:
        client.add(5, "x")  # type: ignore[arg-type]
    assert caught.value.status == 422


def test_only_exposed_methods_can_be_called(client: Calculator):
    with pytest.raises(AttributeError, match="Calculator.cleanup is not exposed"):
        client.cleanup()


async def test_async_methods_are_awaited_and_both_kinds_have_the_other_form(client: Calculator):
    assert await client.add_async(5, 3) == 8
    assert await endpoint_to_async(client.add)(5, 3) == 8
    assert await asyncio.to_thread(endpoint_to_sync(client.add_async), 5, 3) == 8
    with pytest.raises(TypeError, match="get_service_client"):
        endpoint_to_async(len)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("value", ValueError("bad value", 3)),
        ("runtime", RuntimeError("broken")),
        ("key", KeyError("lost")),
        ("timeout", TimeoutError("too slow")),
        ("connection", ConnectionError("gone")),
        ("not found", GraphNotFound("g1", 2)),
        ("not authorized", NotAuthorizedError("not yours")),
        ("invalid", InvalidError("no", [Problem("nodes[0]", "is odd", "make it even")])),
        ("conflict", ConflictError("already done")),
    ],
)
async def test_errors_are_raised_again(client: Calculator, kind: str, error: Exception):
    with pytest.raises(type(error)) as here:
        client.fail(kind)
    with pytest.raises(type(error)) as there:
        await endpoint_to_async(client.fail)(kind)
    for caught in (here, there):
        assert (type(caught.value), caught.value.args, str(caught.value)) == (type(error), error.args, str(error))


def test_an_unknown_error_keeps_its_status_and_text(client: Calculator):
    with pytest.raises(RemoteCallError, match=r"Calculator.fail answered 500: .*OwnTrouble.*what") as caught:
        client.fail("own")
    assert caught.value.status == 500
    assert isinstance(caught.value, ServerError)


def test_a_result_that_was_not_announced_is_an_error(client: Calculator):
    with pytest.raises(RemoteCallError, match="not the result that was announced"):
        client.wrong_result()


async def test_connections_stay_open_and_every_event_loop_has_its_own(client: Calculator):
    connections: Connections = client.connections  # type: ignore[attr-defined]
    first = connections.sync()
    client.add(1, 2)
    assert connections.sync() is first
    here = connections.for_this_loop()
    assert connections.for_this_loop() is here

    async def in_another_loop() -> bool:
        assert await client.add_async(1, 2) == 3
        other = connections.for_this_loop()
        await connections.aclose()
        return other is not here

    assert await asyncio.to_thread(asyncio.run, in_another_loop())


def test_nobody_there_is_unavailable_and_a_connection_error(tmp_path: Path):
    client = get_service_client(Arithmetic, Settings(pyro_client_comm_retry=2), port=free_port())
    with pytest.raises(ServiceUnavailable, match="Arithmetic cannot be reached") as caught:
        client.add(1, 2)
    assert isinstance(caught.value, Unavailable)
    assert isinstance(caught.value, ConnectionError)
    asyncio.run(close_client(client))


async def test_calls_that_were_not_sent_are_tried_again(service: Calculator, monkeypatch: pytest.MonkeyPatch):
    client = get_service_client(Calculator, Settings(), port=service.port)
    connections: Connections = client.connections  # type: ignore[attr-defined]
    tries = fail_first(monkeypatch, connections, 2, httpx.ConnectError("no route"))
    assert client.add(5, 3) == 8
    assert tries == [1, 2, 3]
    await close_client(client)


async def test_a_method_that_is_not_safe_is_sent_once(tmp_path: Path):
    server = Scripted(b"")
    client = get_service_client(Arithmetic, Settings(), port=server.port)
    with pytest.raises(AnswerLost, match="gave no answer"):
        await client.add_async(1, 2)
    await close_client(client)
    assert server.close() == 1


@pytest.mark.parametrize("first", [b"", answer(b'{"type":"RuntimeError","args":["x"]}', "500 Internal Server Error")])
async def test_a_safe_method_is_repeated_after_lost_answers_and_failures(first: bytes):
    server = Scripted(first, first, answer(b'"OK"'))
    client = get_service_client(Arithmetic, Settings(), port=server.port)
    assert client.health_check() == "OK"
    await close_client(client)
    assert server.close() == 3


async def test_failures_of_a_real_service_are_repeated_only_where_safe(tmp_path: Path):
    with Calculator(Settings(data_dir=tmp_path), tmp_path) as service:
        client = get_service_client(Calculator, Settings(), port=service.port)
        assert client.safe_failing_add(5, 3) == 8
        with pytest.raises(ValueError, match="4"):
            client.safe_bad_value()
        with pytest.raises(ValueError, match="5"):
            await endpoint_to_async(client.safe_bad_value)()
        await close_client(client)
    with Calculator(Settings(data_dir=tmp_path), tmp_path) as service:
        client = get_service_client(Calculator, Settings(), port=service.port)
        with pytest.raises(RuntimeError, match="call 1"):
            client.failing_add(5, 3)
        await close_client(client)


async def test_no_answer_in_time_is_a_timeout_and_not_repeated():
    server = Scripted(b"late")
    client = get_service_client(Arithmetic, Settings(), port=server.port, call_timeout=0.1)
    with pytest.raises(CallTimeout, match=r"Arithmetic.health_check gave no answer within 0.1 seconds") as caught:
        client.health_check()
    assert isinstance(caught.value, TimeoutError)
    await close_client(client)
    assert server.close() == 1


async def test_the_secret_is_sent(tmp_path: Path):
    settings = Settings(data_dir=tmp_path, rpc_secret="long random text")
    with Calculator(settings, tmp_path) as service:
        client = get_service_client(Calculator, settings, port=service.port)
        stranger = get_service_client(Calculator, Settings(), port=service.port)
        assert client.add(5, 3) == 8
        with pytest.raises(NotAuthorizedError):
            stranger.add(5, 3)
        await close_client(client)
        await close_client(stranger)


@pytest.mark.parametrize("name", ["CALCULATOR_HOST", "PYRO_HOST"])
async def test_the_host_comes_from_the_settings(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "::1")
    client = get_service_client(Calculator, Settings(), port=1)
    connections: Any = client.connections  # type: ignore[attr-defined]
    assert str(connections.sync().base_url) == "http://[::1]:1"
    await close_client(client)


def test_a_free_port_must_be_told():
    with pytest.raises(ValueError, match="pass the port"):
        get_service_client(Arithmetic, Settings())


def test_connections_are_dropped_after_several_failures_and_not_too_often():
    now = 0.0
    connections = Connections("http://127.0.0.1:1", {}, httpx.Timeout(1), clock=lambda: now)
    first = connections.sync()
    now = 31.0
    connections.failed(), connections.failed()
    assert connections.sync() is first, "fewer than three failures"
    connections.failed()
    second = connections.sync()
    assert second is not first
    for _ in range(5):
        connections.failed()
    assert connections.sync() is second, "less than 30 seconds after the last time"
    now = 62.0
    connections.succeeded()
    connections.failed(), connections.failed()
    assert connections.sync() is second, "a success starts the count anew"
    connections.failed()
    assert connections.sync() is not second
    for client in (first, second, connections.sync()):
        client.close()


def fail_first(
    monkeypatch: pytest.MonkeyPatch, connections: Connections, times: int, error: httpx.TransportError
) -> list[int]:
    """Let the first calls fail before they leave; returns the list in which tries are counted."""
    tries: list[int] = []
    send = httpx.Client.send

    def sometimes(client: httpx.Client, *args: Any, **kwargs: Any) -> httpx.Response:
        tries.append(len(tries) + 1)
        if len(tries) <= times:
            raise error
        return send(client, *args, **kwargs)

    monkeypatch.setattr(httpx.Client, "send", sometimes)
    return tries
