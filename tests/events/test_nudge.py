"""Nudges arrive where somebody listens, and nowhere else does anything happen."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autogpt_server.events.nudge import LATER, Nudger, NudgeReceiver, Topic, send_nudge


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: its paths are too long for sockets.
    with tempfile.TemporaryDirectory(prefix="nudge-") as name:
        yield Path(name)


async def test_every_listener_of_a_topic_hears_the_ids(folder: Path) -> None:
    heard: asyncio.Queue[tuple[str, list[str]]] = asyncio.Queue()
    receivers = [NudgeReceiver(folder, Topic.CHANGES, name) for name in ("a", "b")]
    other = NudgeReceiver(folder, Topic.QUEUE, "a")
    for name, receiver in zip(("a", "b"), receivers, strict=True):
        await receiver.open(lambda ids, name=name: heard.put_nowait((name, ids)))
    await other.open(lambda ids: heard.put_nowait(("other", ids)))

    send_nudge(folder, Topic.CHANGES, ["x", "y"])
    got = [await asyncio.wait_for(heard.get(), 5) for _ in range(2)]
    assert sorted(got) == [("a", ["x", "y"]), ("b", ["x", "y"])]

    send_nudge(folder, Topic.QUEUE)
    assert await asyncio.wait_for(heard.get(), 5) == ("other", [])
    assert heard.empty()
    for receiver in (*receivers, other):
        receiver.close()
    assert os.listdir(folder) == []


async def test_many_ids_come_in_several_datagrams(folder: Path) -> None:
    heard: list[str] = []
    complete = asyncio.Event()
    receiver = NudgeReceiver(folder, Topic.CHANGES, "a")

    def listen(ids: list[str]) -> None:
        heard.extend(ids)
        if len(heard) == 2500:
            complete.set()

    await receiver.open(listen)
    ids = [f"{i:036d}" for i in range(2500)]
    send_nudge(folder, Topic.CHANGES, ids)
    await asyncio.wait_for(complete.wait(), 5)
    assert heard == ids
    receiver.close()


def test_nobody_there_and_somebody_dead_are_no_errors(folder: Path) -> None:
    send_nudge(folder, Topic.QUEUE)
    send_nudge(folder / "missing", Topic.QUEUE)
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(folder / f"dead.{Topic.QUEUE}"))
    dead.close()
    send_nudge(folder, Topic.QUEUE)
    assert os.listdir(folder) == []


async def test_a_listener_that_does_not_listen_holds_up_nobody(folder: Path) -> None:
    receiver = NudgeReceiver(folder, Topic.QUEUE, "busy")
    await receiver.open(lambda ids: None)
    for _ in range(10_000):
        # Its buffer is full long before the end, and the loop does not run in between.
        send_nudge(folder, Topic.QUEUE)
    receiver.close()


async def test_a_nudger_notices_who_comes_and_who_goes(folder: Path) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    nudger = Nudger(folder)
    nudger.send(Topic.QUEUE)
    receivers: list[NudgeReceiver] = []
    for i in range(20):
        # Each at once after the other: within one step of the file system's clock.
        receiver = NudgeReceiver(folder, Topic.QUEUE, f"{i}")
        await receiver.open(lambda _, name=f"{i}": heard.put_nowait(name))
        receivers.append(receiver)
        nudger.send(Topic.QUEUE)
        names = [await asyncio.wait_for(heard.get(), 5) for _ in receivers]
        assert sorted(names, key=int) == [f"{n}" for n in range(i + 1)]
    # Long after the last change nothing is listed again, and the next change is still seen.
    os.utime(folder, (0, 0))
    nudger.send(Topic.QUEUE)
    assert len([await asyncio.wait_for(heard.get(), 5) for _ in receivers]) == 20
    receivers.pop().close()
    nudger.send(Topic.QUEUE)
    assert len([await asyncio.wait_for(heard.get(), 5) for _ in receivers]) == 19
    assert heard.empty()
    for receiver in receivers:
        receiver.close()
    nudger.close()


async def test_work_for_one_goes_to_each_listener_in_turn_and_past_a_dead_one(folder: Path) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    receivers = {name: NudgeReceiver(folder, Topic.QUEUE, name) for name in ("a", "b", "c")}
    for name, receiver in receivers.items():
        await receiver.open(lambda words, name=name: heard.put_nowait((name, " ".join(words))))
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(folder / f"dead.{Topic.QUEUE}"))
    dead.close()

    nudger = Nudger(folder)
    firsts: set[str] = set()
    for _ in range(8):
        nudger.send_to_one(Topic.QUEUE)
        got = [await asyncio.wait_for(heard.get(), 5) for _ in receivers]
        assert sorted(name for name, _ in got) == ["a", "b", "c"]
        assert sorted(word for _, word in got) == ["", LATER, LATER]
        firsts |= {name for name, word in got if word == ""}
    assert firsts == {"a", "b", "c"}
    nudger.close()
    for receiver in receivers.values():
        receiver.close()
