from __future__ import annotations

import socket

import pytest

from autogpt_server.errors import InvalidError
from autogpt_server.service.listen import is_loopback, listen

NAMES = {"port_setting": "AUTOGPT_PORT", "host_setting": "AUTOGPT_HOST"}


def test_port_zero_is_any_free_port():
    with listen("localhost", 0, **NAMES) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        socket.create_connection((host, port)).close()


def test_a_taken_port_is_said_with_the_setting_that_changes_it():
    with listen("127.0.0.1", 0, **NAMES) as first:
        port = first.getsockname()[1]
        with pytest.raises(InvalidError) as caught:
            listen("127.0.0.1", port, **NAMES)
    assert str(caught.value) == (
        f"Port {port} is taken.\n- AUTOGPT_PORT: 127.0.0.1:{port} is in use"
        " (stop what listens there, or set AUTOGPT_PORT to a free port)"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host.invalid"])
def test_a_host_of_another_machine_is_said_with_its_setting(host: str):
    with pytest.raises(InvalidError, match="AUTOGPT_HOST"):
        listen(host, 0, **NAMES)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, answer: bool):
    assert is_loopback(host) is answer
