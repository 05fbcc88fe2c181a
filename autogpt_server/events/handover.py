"""Handing what was just accepted to an executor that has nothing to do.

An executor with room offers its lease to whoever accepts executions.  Who takes an offer claims what it accepts for
that lease, in the transaction that accepts it, and sends it with one datagram, so that it runs without a claim of its
own.  Every offer is good for one execution.

Like nudges these are hints: an offer that is lost means an ordinary claim; an execution that does not arrive is handed
back by the executor, which compares what it runs with its rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from autogpt_server.events.datagrams import DatagramReceiver, DatagramSender
from autogpt_server.events.nudge import Nudger, NudgeReceiver, Topic

#: Bytes of a datagram that every system lets through.
MAX_BYTES = 2000
_SUFFIX = ".handed"


class Offers:
    """Hears, in a process that accepts executions, which executors of this machine have room."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._sender = DatagramSender()
        self._receiver: NudgeReceiver | None = None
        #: Epoch and socket by lease.  Changed by single operations only, each of which is atomic for other threads.
        self._offers: dict[str, tuple[int, str]] = {}

    async def open(self) -> None:
        """Hear offers from now on; the folder must exist."""
        self._receiver = NudgeReceiver(self._run_dir, Topic.OFFERS, f"accepting-{os.getpid()}")
        await self._receiver.open(self._hear)

    def take(self) -> tuple[str, int, str] | None:
        """Take the latest offer: lease, epoch and where to send to.  From any thread.

        The latest one to offer has worked last, and still has everything at hand.
        """
        try:
            lease_id, (epoch, name) = self._offers.popitem()
        except KeyError:
            return None
        return lease_id, epoch, name

    def hand_over(self, name: str, text: bytes) -> None:
        """Send an execution to the executor whose offer named this socket."""
        self._sender.send(f"{self._run_dir}/{name}", text)

    def close(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
        self._sender.close()

    def _hear(self, words: list[str]) -> None:
        match words:
            case [lease_id, epoch, name] if epoch.isdecimal() and name.endswith(_SUFFIX) and "/" not in name:
                self._offers.pop(lease_id, None)
                self._offers[lease_id] = int(epoch), name
            case [lease_id]:
                self._offers.pop(lease_id, None)
            case _:
                pass


class Offering:
    """Offers the lease of an executor, and receives what it is handed."""

    def __init__(self, run_dir: Path, nudger: Nudger, lease_id: str, epoch: int) -> None:
        self._name = f"executor-{os.getpid()}{_SUFFIX}"
        self._receiver = DatagramReceiver(run_dir / self._name)
        self._nudger, self._lease_id, self._epoch = nudger, lease_id, epoch

    async def open(self, on_execution: Callable[[bytes], None]) -> None:
        """Call ``on_execution``, on the loop, with each text that is handed over."""
        await self._receiver.open(on_execution)

    def offer(self) -> None:
        """Say that there is room for one execution; again when one was handed over, or the listener is new."""
        self._nudger.send(Topic.OFFERS, (self._lease_id, str(self._epoch), self._name))

    def withdraw(self) -> None:
        self._nudger.send(Topic.OFFERS, (self._lease_id,))

    def close(self) -> None:
        self._receiver.close()
