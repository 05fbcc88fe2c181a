"""Nudges: datagrams between the processes of one machine that say "look now".

Hints only.  The rows are the truth and are read anyway, so a nudge may be lost, doubled or late; whoever sends one
never waits, and needs nobody to be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path

log = logging.getLogger(__name__)

#: Ids in one datagram: 1,000 of 36 characters stay below the 64 KiB that fit everywhere.
_IDS_PER_DATAGRAM = 1000


class Topic(StrEnum):
    """What a nudge is about."""

    #: Something was queued, or shall stop.  Heard by executor processes.
    QUEUE = "queue"
    #: Executions changed; their ids are in the nudge.  Heard by whoever shows executions to clients.
    CHANGES = "changes"


def send_nudge(run_dir: Path, topic: Topic, ids: Iterable[str] = ()) -> None:
    """Nudge every process of this machine that listens to a topic.  Never blocks and never fails."""
    listeners = list(run_dir.glob(f"*.{topic}"))
    if not listeners:
        return
    ids = list(ids)
    parts = [ids[i : i + _IDS_PER_DATAGRAM] for i in range(0, max(1, len(ids)), _IDS_PER_DATAGRAM)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in listeners:
            for part in parts:
                _send(sender, path, " ".join(part).encode())


def _send(sender: socket.socket, path: Path, data: bytes) -> None:
    try:
        sender.sendto(data, str(path))
    except ConnectionRefusedError:
        # Its owner died without cleaning up.
        path.unlink(missing_ok=True)
    except OSError as error:
        # A full buffer means that it is being woken already.
        log.debug("no nudge to %s: %s", path.name, error)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, on_nudge: Callable[[list[str]], None]) -> None:
        self._on_nudge = on_nudge

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._on_nudge(data.decode("ascii", "replace").split())


class NudgeReceiver:
    """Listens to a topic on a socket of its own in the run folder, which must exist."""

    def __init__(self, run_dir: Path, topic: Topic, name: str) -> None:
        self._path = run_dir / f"{name}.{topic}"
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, on_nudge: Callable[[list[str]], None]) -> None:
        """Call ``on_nudge`` with the ids, on the loop, for every nudge from now on."""
        self._path.unlink(missing_ok=True)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setblocking(False)
        receiver.bind(str(self._path))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(on_nudge), sock=receiver)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
