"""Offers of executors: who takes one, how long they are good, and what is no offer."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from autogpt_server.events.handover import Offering, Offers
from autogpt_server.events.nudge import Nudger, Topic


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    # Not pytest's own: its paths are too long for sockets.
    with tempfile.TemporaryDirectory(prefix="handover-") as name:
        yield Path(name)


@pytest.fixture
async def offers(folder: Path) -> AsyncIterator[Offers]:
    offers = Offers(folder)
    await offers.open()
    yield offers
    offers.close()


@pytest.fixture
async def nudger(folder: Path) -> AsyncIterator[Nudger]:
    nudger = Nudger(folder)
    yield nudger
    nudger.close()


async def heard(offers: Offers) -> None:
    """Let everything that was sent arrive."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_an_offer_is_good_for_one_execution(folder: Path, offers: Offers, nudger: Nudger) -> None:
    offering = Offering(folder, nudger, "lease", 1)
    received: asyncio.Queue[bytes] = asyncio.Queue()
    await offering.open(received.put_nowait)
    assert offers.take() is None
    offering.offer()
    offering.offer()
    await heard(offers)
    taken = offers.take()
    assert taken is not None and taken[:2] == ("lease", 1)
    assert offers.take() is None
    offers.hand_over(taken[2], b"an execution")
    assert await asyncio.wait_for(received.get(), 5) == b"an execution"
    offering.close()


async def test_the_latest_offer_is_taken_and_a_withdrawn_one_is_not(
    folder: Path, offers: Offers, nudger: Nudger
) -> None:
    first, second, third = (Offering(folder, nudger, f"lease-{i}", 1) for i in range(3))
    for offering in (first, second, third, first):
        offering.offer()
    second.withdraw()
    await heard(offers)
    assert [taken[0] for taken in (offers.take(), offers.take()) if taken] == ["lease-0", "lease-2"]
    assert offers.take() is None


@pytest.mark.parametrize(
    "words", [["l", "1", "../x.handed"], ["l", "x", "a.handed"], ["l", "1", "other"], [], ["a", "1", "b.handed", "c"]]
)
async def test_what_is_no_offer_is_none(offers: Offers, nudger: Nudger, words: list[str]) -> None:
    nudger.send(Topic.OFFERS, words)
    await heard(offers)
    assert offers.take() is None


async def test_an_executor_that_has_gone_costs_nothing(offers: Offers) -> None:
    offers.hand_over("executor-1.handed", b"an execution")
