"""Datagrams between the processes of one machine, on sockets in their run folder.

Whoever sends one never waits, and needs nobody to be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


class DatagramSender:
    """Sends from any thread of the process that made it."""

    def __init__(self) -> None:
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def send(self, path: str, datagram: bytes) -> bool:
        """Send if somebody is there and has room; tells whether."""
        try:
            self._sender.sendto(datagram, path)
            return True
        except ConnectionRefusedError:
            # Its owner died without cleaning up.
            with contextlib.suppress(OSError):
                os.unlink(path)
        except OSError as error:
            # A full buffer means that it is being woken already.
            log.debug("no datagram to %s: %s", path, error)
        return False

    def close(self) -> None:
        self._sender.close()


class DatagramReceiver:
    """Listens on a socket of its own, in a folder that must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, on_datagram: Callable[[bytes], None]) -> None:
        """Call ``on_datagram``, on the loop, for every datagram from now on."""
        self._path.unlink(missing_ok=True)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setblocking(False)
        receiver.bind(str(self._path))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(on_datagram), sock=receiver)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, on_datagram: Callable[[bytes], None]) -> None:
        self._on_datagram = on_datagram

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._on_datagram(data)
