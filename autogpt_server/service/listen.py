"""Where processes listen: loopback unless told otherwise, and a port that is taken is said clearly."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.settings import Settings

#: Connections that may wait to be accepted.
_BACKLOG = 2048


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.  A name other than ``localhost`` counts as reachable."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@lru_cache(maxsize=64)
def names_this_machine(host: str, own_host: str) -> bool:
    """Tell whether a ``Host`` header names this machine; its own name counts, too."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and (is_loopback(name) or name == own_host)


def local_address(host: str) -> str:
    """The address for a host as settings name it: ``localhost`` is the IPv4 loopback, to which services bind."""
    return "127.0.0.1" if host == "localhost" else host


def check_secret(settings: Settings) -> None:
    """Refuse to let services listen beyond loopback without a secret that keeps strangers out.

    Raises:
        InvalidError: With the name of the setting.
    """
    if settings.rpc_secret is None and not is_loopback(settings.pyro_host):
        problem = Problem(
            "rpc_secret", "is not set", "set AUTOGPT_RPC_SECRET to the same long random text for all services"
        )
        message = f"Services on {settings.pyro_host} can be reached from other machines, so they need a secret."
        raise InvalidError(message, [problem])


def listen(host: str, port: int, *, port_setting: str, host_setting: str) -> socket.socket:
    """Open a listening socket; port 0 means any free one.

    Args:
        port_setting: Name of the environment variable that changes the port, for the message.
        host_setting: The same for the host.

    Raises:
        InvalidError: The port is taken or not allowed, or the host is not one of this machine; names the setting.
    """
    host = local_address(host)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refusal(error, host, port, port_setting, host_setting) from error
    try:
        # A predecessor's closed connections must not block the port; one that still listens does.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(error, host, port, port_setting, host_setting) from error
    listener.setblocking(False)
    return listener


def _refusal(error: OSError, host: str, port: int, port_setting: str, host_setting: str) -> InvalidError:
    if error.errno == errno.EADDRINUSE:
        fix = f"stop what listens there, or set {port_setting} to a free port"
        return InvalidError(f"Port {port} is taken.", [Problem(port_setting, f"{host}:{port} is in use", fix)])
    if error.errno in (errno.EACCES, errno.EPERM):
        fix = f"set {port_setting} to a port above 1023"
        return InvalidError(f"Port {port} is not allowed.", [Problem(port_setting, str(error.strerror), fix)])
    problem = Problem(host_setting, str(error.strerror or error), "use an address of this machine")
    return InvalidError(f"Cannot listen on {host}.", [problem])
