"""`CronExpression.next_after` against a walker that looks at every minute; see debian_walker.py.

``CRON_WALKER_ROUNDS=20`` compares twenty times as many expressions (`pytest tests/scheduler/test_cron_walker.py -s`).
"""

from __future__ import annotations

import bisect
import os
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from autogpt_server.errors import InvalidError
from autogpt_server.scheduler.cron import parse_cron
from autogpt_server.scheduler.zones import parse_zone
from tests.scheduler.debian_walker import Expressions, Rule, Window, find_changes, make_window_around

ROUNDS = int(os.environ.get("CRON_WALKER_ROUNDS", "1"))
#: Zones, and how often each changed its clock from 2009 to 2019.
ZONES = {
    "Europe/Berlin": 22,
    "America/New_York": 22,
    "Australia/Lord_Howe": 22,
    "America/Sao_Paulo": 21,
    "Asia/Kathmandu": 0,
    "Pacific/Apia": 20,
    "Africa/Cairo": 10,
    "Africa/Casablanca": 35,
    "Asia/Beirut": 22,
    "America/Caracas": 1,
    "UTC": 0,
}


@dataclass
class Compared:
    expressions: set[str] = field(default_factory=set[str])
    moments: int = 0


def compare(window: Window, text: str, chance: random.Random, compared: Compared) -> None:
    """Hold the whole list of runs, and what comes next after some moments, against the walker's."""
    try:
        expression = parse_cron(text)
    except InvalidError as error:
        assert "never comes" in str(error), text
        assert not window.walk(Rule(text)), f"{text} was refused and comes in {window.zone}"
        return
    runs = window.walk(Rule(text))
    assert isinstance(window.zone, ZoneInfo)
    found: list[datetime] = []
    for moment in expression.fire_times(window.start, window.zone):
        if moment > window.end:
            break
        found.append(moment)
        assert len(found) <= len(runs), f"{text} in {window.zone}: {moment} is one too many"
    assert found == runs, f"{text} in {window.zone}"
    for _ in range(8):
        after = window.start + chance.random() * (window.end - window.start)
        index = bisect.bisect_right(runs, after)
        came = expression.next_after(after, window.zone)
        if index < len(runs):
            assert came == runs[index], f"{text} in {window.zone} after {after}"
        else:
            assert came is None or came > window.end, f"{text} in {window.zone} after {after}"
    compared.expressions.add(text)
    compared.moments += len(window.minutes)


@pytest.mark.parametrize("name", ZONES)
def test_all_runs_around_every_change_of_the_clock_are_those_of_the_walker(name: str) -> None:
    zone = parse_zone(name)
    changes = find_changes(zone, 2009, 2019)
    assert len(changes) == ZONES[name], len(changes)
    chance, expressions, compared = random.Random(name), Expressions(len(name)), Compared()
    for _ in range(ROUNDS):
        for change in changes or [datetime(2012, 2, 29, tzinfo=UTC)]:
            window = make_window_around(zone, change, hours=40 if name == "Pacific/Apia" else 15)
            for _ in range(max(9, 180 // max(len(changes), 1))):
                near = (change + timedelta(minutes=chance.randint(-90, 90))).astimezone(zone)
                compare(window, expressions.make(near), chance, compared)
    print(f"{name}: {len(compared.expressions)} expressions, {compared.moments} minutes")
    assert len(compared.expressions) > 130


@pytest.mark.parametrize("name", ZONES)
def test_all_runs_of_random_days_are_those_of_the_walker(name: str) -> None:
    zone, chance, expressions, compared = parse_zone(name), random.Random(name), Expressions(99), Compared()
    for _ in range(6 * ROUNDS):
        start = datetime(2010, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randint(0, 25 * 365 * 1440))
        window = Window(zone, start, 2.5)
        for _ in range(12):
            compare(window, expressions.make(start.astimezone(zone) + timedelta(days=1)), chance, compared)
    print(f"{name}: {len(compared.expressions)} expressions, {compared.moments} minutes")
    assert len(compared.expressions) > 60


@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_all_runs_of_a_year_are_those_of_the_walker(name: str) -> None:
    zone, chance, expressions, compared = parse_zone(name), random.Random(name), Expressions(7), Compared()
    window = Window(zone, datetime(2011, 3, 1, tzinfo=UTC), 365)
    for _ in range(3 * ROUNDS):
        near = window.start + timedelta(minutes=chance.randint(0, 365 * 1440))
        text = expressions.make(near)
        while parse_cron(text).minute.is_full:  # half a million runs would show nothing more
            text = expressions.make(near)
        compare(window, text, chance, compared)
    print(f"{name}: {len(compared.expressions)} expressions, {compared.moments} minutes")
    assert compared.moments == 3 * ROUNDS * 365 * 1440
