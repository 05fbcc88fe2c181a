"""Nudges: datagrams between the processes of one machine that say "look now".

Hints only.  The rows are the truth and are read anyway, so a nudge may be lost, doubled or late; whoever sends one
never waits, and needs nobody to be there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path

from autogpt_server.events.datagrams import DatagramReceiver, DatagramSender

#: Ids in one datagram: 1,000 of 36 characters stay below the 64 KiB that fit everywhere.
_IDS_PER_DATAGRAM = 1000
#: Nanoseconds within which a second change of a folder may leave its time of change as it is.
_CLOCK_STEP_NS = 50_000_000


class Topic(StrEnum):
    """What a nudge is about."""

    #: Something was queued.  Heard by executor processes.
    QUEUE = "queue"
    #: Something that may be running shall stop or pause; the ids are in the nudge.  Heard by executor processes.
    CONTROL = "control"
    #: Executions changed; their ids are in the nudge, and the name of a draft that is durable now.  Heard by whoever
    #: shows executions to clients.
    CHANGES = "changes"
    #: An executor is about to commit; see ``data/drafts.py``.  Heard by whoever shows executions to clients.
    DRAFTS = "drafts"
    #: Schedules changed; their ids are in the nudge, or none where all are to be read.  Heard by schedulers.
    SCHEDULES = "schedules"
    #: An executor has room, or has none any more; see ``handover.py``.  Heard by whoever accepts executions.
    OFFERS = "offers"


#: In a nudge to those who need not look at once, because it was also sent to somebody who does.
LATER = "later"


class Nudger:
    """Nudges every process of this machine that listens to a topic.  For any thread of the process that made it.

    It keeps one socket, and the list of listeners for as long as their folder does not change.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._sender = DatagramSender()
        #: The folder's time of change when it was listed, and what it held; replaced as one, for other threads.
        self._listed: tuple[int, dict[Topic, list[str]]] = (0, {})
        self._turn = 0

    def send(self, topic: Topic, ids: Iterable[str] = ()) -> None:
        """Nudge whoever listens to a topic.  Never blocks and never fails."""
        listeners = self._listeners(topic)
        if not listeners:
            return
        ids = list(ids)
        parts = [ids[i : i + _IDS_PER_DATAGRAM] for i in range(0, max(1, len(ids)), _IDS_PER_DATAGRAM)]
        datagrams = [" ".join(part).encode() for part in parts]
        for path in listeners:
            for datagram in datagrams:
                self._sender.send(path, datagram)

    def send_data(self, topic: Topic, data: bytes) -> None:
        """Send data to whoever listens to a topic, as far as they have room.  Never blocks and never fails."""
        for path in self._listeners(topic):
            self._sender.send(path, data)

    def send_to_one(self, topic: Topic) -> None:
        """Nudge one listener, each time the next, and tell the others ``LATER``: work for one is not worth a race.

        They are told, because the one may be busy or hung.
        """
        listeners = self._listeners(topic)
        if not listeners:
            return
        self._turn = (self._turn + 1) % len(listeners)
        word = ""
        for path in listeners[self._turn :] + listeners[: self._turn]:
            if self._sender.send(path, word.encode()):
                word = LATER

    def close(self) -> None:
        self._sender.close()

    def _listeners(self, topic: Topic) -> list[str]:
        try:
            changed_at = os.stat(self._run_dir).st_mtime_ns
            at, listed = self._listed
            if at != changed_at:
                names = os.listdir(self._run_dir)
                listed = {
                    one: [f"{self._run_dir}/{name}" for name in names if name.endswith(f".{one}")] for one in Topic
                }
                # What comes within the same step of the file system's clock would not be seen.
                is_settled = time.time_ns() - changed_at > _CLOCK_STEP_NS
                self._listed = (changed_at if is_settled else 0, listed)
        except OSError:
            return []
        return listed[topic]


def send_nudge(run_dir: Path, topic: Topic, ids: Iterable[str] = ()) -> None:
    """Nudge once, as ``Nudger.send``; whoever nudges often keeps a ``Nudger``."""
    nudger = Nudger(run_dir)
    nudger.send(topic, ids)
    nudger.close()


class NudgeReceiver:
    """Listens to a topic on a socket of its own in the run folder, which must exist."""

    def __init__(self, run_dir: Path, topic: Topic, name: str) -> None:
        self._receiver = DatagramReceiver(run_dir / f"{name}.{topic}")

    async def open(self, on_nudge: Callable[[list[str]], None]) -> None:
        """Call ``on_nudge`` with the ids, on the loop, for every nudge from now on."""
        await self._receiver.open(lambda data: on_nudge(data.decode("ascii", "replace").split()))

    def close(self) -> None:
        self._receiver.close()
