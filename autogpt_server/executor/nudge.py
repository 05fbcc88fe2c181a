"""Nudges: a datagram that tells the executor processes of this machine to look at the queue now.

A hint only.  The table is the truth and is polled anyway, so a nudge may be lost, doubled or late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_SUFFIX = ".nudge"


def send_nudge(run_dir: Path) -> None:
    """Wake every executor process of this machine.  Never blocks and never fails."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in run_dir.glob(f"*{_SUFFIX}"):
            try:
                sender.sendto(b"!", str(path))
            except ConnectionRefusedError:
                # Its owner died without cleaning up.
                path.unlink(missing_ok=True)
            except OSError as error:
                # A full buffer means that it is being woken already.
                log.debug("no nudge to %s: %s", path.name, error)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._wake()


class NudgeReceiver:
    """Listens for nudges on a socket of its own in the run folder."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._path = run_dir / f"{name}{_SUFFIX}"
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` on the loop for every nudge from now on."""
        self._path.unlink(missing_ok=True)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setblocking(False)
        receiver.bind(str(self._path))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(wake), sock=receiver)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
