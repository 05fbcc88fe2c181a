"""Job rows that others wrote are read; what is no job runs nothing, and is told."""

from __future__ import annotations

import builtins
import functools
import importlib
import os
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from autogpt_server.scheduler.known_functions import EXECUTE_GRAPH, PROCESS_EXISTING_BATCHES
from autogpt_server.scheduler.rpc_models import NotificationType
from autogpt_server.scheduler.triggers import UnixCronTrigger
from autogpt_server.scheduler.unpickling import MAX_BYTES, NotRestorable, load_job_state
from autogpt_server.scheduler.zones import parse_zone
from tests.scheduler.job_pickles import ARGUMENTS, NOON, Elsewhere, Filling, Gadget, state, stored_elsewhere

MONDAY_NINE = datetime(2026, 1, 6, 8, tzinfo=UTC)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_jobs_of_another_deployment_are_read_as_they_are(protocol: int) -> None:
    cron, interval, once, batch = map(
        load_job_state,
        stored_elsewhere(
            Elsewhere("a", protocol=protocol),
            Elsewhere("b", "IntervalTrigger(seconds=90, timezone='UTC')", protocol=protocol),
            Elsewhere("c", "DateTrigger(datetime(2027, 1, 1, tzinfo=timezone.utc))", protocol=protocol),
            Elsewhere("d", function="process_existing_batches", enum=True, protocol=protocol),
        ),
    )
    assert (cron["id"], cron["name"], cron["func"], cron["next_run_time"]) == ("a", "mine", EXECUTE_GRAPH, NOON)
    assert cron["kwargs"] == ARGUMENTS
    # Of that deployment's own numbering: its 1 is Tuesday.
    assert cron["trigger"].get_next_fire_time(None, NOON) == MONDAY_NINE
    assert isinstance(interval["trigger"], IntervalTrigger)
    assert interval["trigger"].interval == timedelta(seconds=90)
    assert once["trigger"].get_next_fire_time(None, NOON) == datetime(2027, 1, 1, tzinfo=UTC)
    assert batch["func"] == PROCESS_EXISTING_BATCHES
    assert batch["kwargs"]["notification_types"] == [NotificationType.DAILY_SUMMARY]


@pytest.mark.parametrize(
    "trigger",
    [
        UnixCronTrigger("0 9 * * 1", "Asia/Kathmandu", start_date=NOON, jitter=3),
        CronTrigger(day="last,2nd fri", hour="*/7", timezone=timezone(timedelta(hours=2)), jitter=3),
        CronTrigger.from_crontab("1-59/7 0,5 1 jan-mar sun", timezone=ZoneInfo("America/St_Johns")),
        IntervalTrigger(minutes=5, timezone=parse_zone("UTC"), start_date=NOON),
    ],
    ids=str,
)
def test_triggers_fire_as_before_they_were_stored(trigger: Any) -> None:
    read = load_job_state(pickle.dumps(state(trigger=trigger)))["trigger"]
    assert (type(read), str(read), read.jitter) == (type(trigger), str(trigger), trigger.jitter)
    read.jitter = trigger.jitter = None
    at = theirs = NOON
    for _ in range(20):
        at, theirs = read.get_next_fire_time(at, at), trigger.get_next_fire_time(theirs, theirs)
        assert at == theirs


def test_zones_of_older_versions_are_read_without_their_library() -> None:
    zone = types.ModuleType("pytz")

    def stand_in(*arguments: Any) -> Any: ...

    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = "pytz", "_p", "_p"
    setattr(zone, "_p", stand_in)  # noqa: B010
    sys.modules["pytz"] = zone
    try:
        good, bad = (
            pickle.dumps(state(trigger=in_zone(ZoneElsewhere(stand_in, name, 3600, 0, "CET"))))
            for name in ("Europe/Berlin", "../../etc")
        )
    finally:
        del sys.modules["pytz"]
    trigger = load_job_state(good)["trigger"]
    assert trigger.get_next_fire_time(None, NOON) == datetime(2026, 1, 6, 8, tzinfo=UTC)
    with pytest.raises(NotRestorable, match="The time zone is not valid"):
        load_job_state(bad)
    assert "pytz" not in sys.modules


class ZoneElsewhere(tzinfo):
    """Pickles as a zone of another library."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> Any:
        return self._call[0], self._call[1:]


def in_zone(zone: tzinfo) -> CronTrigger:
    trigger = CronTrigger.from_crontab("0 9 * * 1", timezone=UTC)
    trigger.timezone = zone
    return trigger


def canary(path: Path) -> list[tuple[str, Any]]:
    """Return things that would make a file when they are read by Python's own unpickler."""
    touch = f"touch {path}"
    code = f"open({str(path)!r}, 'w').close()"
    return [
        ("os.system", Gadget(os.system, touch)),
        ("posix by another name", Gadget(importlib.import_module("posix").system, touch)),
        ("builtins.eval", Gadget(builtins.eval, code)),
        ("builtins.exec", Gadget(builtins.exec, code)),
        ("open", Gadget(open, str(path), "w")),
        ("a method of an allowed class", Gadget(getattr, OrderedDict, "fromkeys")),
        ("functools.partial", Filling(functools.partial, (os.system,), (os.system, (touch,), {}, None))),
        ("import of a module", Gadget(importlib.import_module, "antigravity")),
        ("a zone that is a path", Gadget(getattr(ZoneInfo, "_unpickle"), "../../tmp/x", True)),  # noqa: B009
    ]


@pytest.mark.parametrize("index", range(9))
@pytest.mark.parametrize("place", ["kwargs", "trigger", "whole"])
def test_what_a_pickle_wants_to_run_is_never_run(tmp_path: Path, index: int, place: str) -> None:
    path = tmp_path / "canary"
    _, gadget = canary(path)[index]
    held = {"kwargs": state(kwargs={"x": gadget}), "trigger": state(trigger=gadget), "whole": gadget}[place]
    with pytest.raises(NotRestorable):
        load_job_state(pickle.dumps(held))
    assert not path.exists()
    assert "antigravity" not in sys.modules


def test_classes_and_functions_are_not_filled(tmp_path: Path) -> None:
    before = CronTrigger.get_next_fire_time
    for target in (b"capscheduler.triggers.cron\nCronTrigger\n", b"cautogpt_server.scheduler.zones\nparse_zone\n"):
        # BUILD with attributes for an object that keeps them in slots: on a class it would replace a method.
        values = b"(N}X\x12\x00\x00\x00get_next_fire_timecdatetime\ndate\nstb."
        with pytest.raises(NotRestorable, match="fills what must not be filled"):
            load_job_state(target + values)
    assert CronTrigger.get_next_fire_time is before
    assert not hasattr(parse_zone, "get_next_fire_time")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"func": "os:system"}, "'os:system' is not known here; it may have been renamed"),
        ({"func": "backend.executor.scheduler:execute_graphs"}, "may have been renamed"),
        ({"func": None}, "no func that can be used"),
        ({"trigger": OrTrigger([DateTrigger(NOON)])}, "of which no job consists"),
        ({"trigger": None}, "which is not known here"),
        ({"kwargs": [1]}, "no kwargs that can be used"),
        ({"next_run_time": datetime(2026, 1, 1)}, "without a time zone"),  # noqa: DTZ001
        ({"version": 2}, "of a newer APScheduler"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotRestorable, match=reason):
        load_job_state(pickle.dumps(state(**change)))


def tampered(change: Callable[[Any], None]) -> bytes:
    trigger: Any = IntervalTrigger(seconds=5, timezone=UTC)
    change(trigger)
    return pickle.dumps(state(trigger=trigger))


def test_triggers_that_would_never_end_are_refused() -> None:
    with pytest.raises(NotRestorable, match="interval"):
        load_job_state(tampered(lambda trigger: setattr(trigger, "interval", timedelta(seconds=-1))))
    cron: Any = CronTrigger.from_crontab("*/5 * * * *", timezone=UTC)
    next(one for one in cron.fields if one.name == "minute").expressions[0].step = -1
    with pytest.raises(NotRestorable):
        load_job_state(pickle.dumps(state(trigger=cron)))


def test_a_zone_given_as_text_is_not_looked_for() -> None:
    cron: Any = CronTrigger.from_crontab("0 0 * * *", timezone=UTC)
    cron.timezone = "antigravity"
    with pytest.raises(NotRestorable, match="no time zone"):
        load_job_state(pickle.dumps(state(trigger=cron)))


def test_pickles_that_are_too_much_are_refused() -> None:
    with pytest.raises(NotRestorable, match=str(MAX_BYTES)):
        load_job_state(pickle.dumps(state(kwargs={"x": "a" * MAX_BYTES})))
    many: list[Any] = ["lol"]
    for _ in range(40):
        many = [many, many]
    with pytest.raises(NotRestorable, match="hold more than"):
        load_job_state(pickle.dumps(state(kwargs={"x": many})))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotRestorable, match="hold more than"):
        load_job_state(pickle.dumps(state(kwargs={"x": endless})))


@pytest.mark.parametrize("data", [b"", b"\x80", b"nonsense", b"\x80\x05.", b"\x80\x05N.", b"\x80\x05]."])
def test_what_is_no_pickle_is_told(data: bytes) -> None:
    with pytest.raises(NotRestorable):
        load_job_state(data)


def test_no_cut_and_no_flipped_byte_leads_to_anything_else() -> None:
    data = pickle.dumps(state(trigger=UnixCronTrigger("0 9 * * 1")))
    for i in range(len(data)):
        for changed in (data[:i], data[:i] + bytes([data[i] ^ 0x15]) + data[i + 1 :]):
            try:
                load_job_state(changed)
            except NotRestorable:
                continue
