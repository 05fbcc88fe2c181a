from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest

from autogpt_server.errors import InvalidError
from autogpt_server.scheduler.zones import parse_zone, zone_names


def test_every_listed_zone_opens_and_knows_its_name() -> None:
    assert len(zone_names()) > 590
    for name in zone_names():
        zone = parse_zone(name)
        assert (zone.key, str(zone)) == (name, name)
        assert datetime(2025, 1, 1, tzinfo=zone).utcoffset() is not None


def test_zones_do_not_come_from_the_system(tmp_path: Path) -> None:
    # A system that takes Madrid for Tokyo.
    (tmp_path / "Europe").mkdir()
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Madrid").write_bytes(tokyo)
    ask = (
        "from datetime import datetime\nfrom zoneinfo import ZoneInfo\n"
        "from autogpt_server.scheduler.zones import parse_zone\n"
        "print(*(datetime(2025, 7, 1, tzinfo=each('Europe/Madrid')).utcoffset() for each in (ZoneInfo, parse_zone)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", ask],
        env={**os.environ, "PYTHONTZPATH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert result.stdout.split() == ["9:00:00", "2:00:00"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("new york", "America/New_York"),
        ("America/NewYork", "America/New_York"),
        ("Asia/Katmandou", "Asia/Katmandu"),
        ("utc", "UTC"),
        ("Lord_How", "Australia/Lord_Howe"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_one_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_zone(name)
    (problem,) = caught.value.problems
    assert (problem.path, problem.fix) == ("timezone", f"did you mean {meant!r}?")
    assert name in problem.message


@pytest.mark.parametrize("name", ["+02:00", "UTC+2", "GMT-5", "+0530"])
def test_an_offset_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InvalidError, match="does not know when clocks change"):
        parse_zone(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "PST",
        "CEST",
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/passwd",
        "Europe/../Europe/Berlin",
        "Europe/Berlin\0",
        "Europe\\Berlin",
        "Europe",
        "Europe/",
        "zones",
        "__init__.py",
        "Factory",
        "localtime",
        "posixrules",
        "x" * 100_000,
        "Εurope/Berlin",
    ],
)
def test_what_is_no_zone_is_refused_and_no_file_is_opened(name: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_zone(name, path="schedule.timezone")
    assert caught.value.problems[0].path == "schedule.timezone"
    assert len(str(caught.value)) < 500


def test_a_zone_pickles_as_its_name_and_copies_as_itself() -> None:
    zone = parse_zone("Europe/Berlin")
    assert pickle.loads(pickle.dumps(zone)) is zone
    assert copy.deepcopy(zone) is zone
    assert len(pickle.dumps(zone)) < 100
    moment = datetime(2025, 7, 1, 12, tzinfo=zone)
    again = pickle.loads(pickle.dumps(moment))
    assert again == moment
    assert again.astimezone(UTC).hour == 10
