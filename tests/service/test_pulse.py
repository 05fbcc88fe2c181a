"""Signs of life come from what does the work, and hold nobody up."""

from __future__ import annotations

import asyncio
import time

import psutil
import pytest
import sample_processes
from supervised import LIMIT, all_gone

from autogpt_server.service.pulse import Pulse
from autogpt_server.telemetry import counting


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_a_sign_needs_the_turns_of_all_parts(clock: Clock):
    promises: list[float] = []
    pulse = Pulse(promises.append, 30)
    loop, main = pulse.part(), pulse.part()
    pulse.begin()
    assert promises == [30]
    for _ in range(20):
        clock.now += pulse.pause
        loop.turn()
    assert promises == [30]
    main.turn()
    assert promises == [30, 30]
    clock.now += pulse.pause
    main.turn()
    assert promises == [30, 30]


def test_the_first_sign_is_one_for_health_too(monkeypatch: pytest.MonkeyPatch):
    beats: list[None] = []
    monkeypatch.setattr(counting, "beat", lambda: beats.append(None))
    idle = Pulse(lambda _: None, 30)
    idle.begin()
    assert not beats
    pulse = Pulse(lambda _: None, 30)
    pulse.part()
    pulse.begin()
    # Who stands still from here on is missed.
    assert len(beats) == 1


def test_who_waits_for_something_outside_is_excused_and_the_others_are_not(clock: Clock):
    promises: list[float] = []
    pulse = Pulse(promises.append, 30)
    loop, main = pulse.part(), pulse.part()
    pulse.begin()
    with main.excused():
        clock.now += pulse.pause
        assert promises == [30]
        loop.turn()
        assert promises == [30, 30]
    clock.now += pulse.pause
    with main.excused():
        pass
    # The loop has not turned since.
    assert promises == [30, 30]
    clock.now += pulse.pause
    loop.turn()
    assert promises == [30, 30, 30]
    clock.now += pulse.pause
    loop.turn()
    # Nobody is excused any more.
    assert promises == [30, 30, 30]


def test_signs_are_few_however_often_a_part_turns(clock: Clock):
    promises: list[float] = []
    pulse = Pulse(promises.append, 30)
    part = pulse.part()
    pulse.begin()
    for _ in range(1000):
        clock.now += 0.01
        part.turn()
    assert 5 <= len(promises) <= 12


def test_the_last_promise_is_that_of_the_end(clock: Clock):
    promises: list[float] = []
    pulse = Pulse(promises.append, 30)
    part = pulse.part()
    pulse.begin()
    pulse.end(500)
    clock.now += pulse.pause
    part.turn()
    assert promises == [30, 500]


def test_a_process_without_parts_promises_nothing():
    promises: list[float] = []
    pulse = Pulse(promises.append, 30)
    pulse.begin()
    pulse.end(500)
    assert promises == []


async def test_a_loop_that_is_blocked_gives_no_sign():
    promises: list[float] = []
    are_several = asyncio.Event()

    def promise(seconds: float) -> None:
        promises.append(seconds)
        if len(promises) == 3:
            are_several.set()

    pulse = Pulse(promise, 1)
    pulse.pause = 0.01
    pulse.follow(asyncio.get_running_loop())
    pulse.begin()
    await asyncio.wait_for(are_several.wait(), 10)
    before = len(promises)
    time.sleep(0.2)  # noqa: ASYNC251 (what is tested)
    assert len(promises) == before


def test_a_starter_that_does_not_listen_holds_nobody_up():
    process = sample_processes.TurnsWithoutEnd()
    process.start(background=True)
    # Looked at from outside: nothing reads its signs.
    assert all_gone([psutil.Process(process.child.pid)])
    assert process.child.wait_gone(LIMIT) == 0
