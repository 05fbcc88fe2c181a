from __future__ import annotations

from datetime import UTC, datetime

import pytest

from autogpt_server.scheduler.cron import parse_cron
from autogpt_server.scheduler.preview import MAX_RUNS, Preview, preview
from autogpt_server.scheduler.zones import parse_zone


def show(text: str, zone: str, after: str, count: int = 3) -> Preview:
    place = parse_zone(zone)
    return preview(parse_cron(text), place, datetime.fromisoformat(after).replace(tzinfo=place), count)


def test_a_preview_shows_words_and_the_next_runs_on_both_clocks() -> None:
    shown = show("0 9 * * 1-5", "Europe/Berlin", "2025-03-28 12:00")
    assert shown.description == "at 09:00 on weekdays"
    assert [run.utc.isoformat() for run in shown.runs] == [
        f"2025-0{date}T07:00:00+00:00" for date in ("3-31", "4-01", "4-02")
    ]
    assert [run.local.isoformat() for run in shown.runs][0] == "2025-03-31T09:00:00+02:00"
    assert shown.warnings == ()


@pytest.mark.parametrize(
    ("text", "zone", "after", "warning"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2025-03-29 12:00",
            "on 2025-03-30 the clock jumps from 02:00 to 03:00, so the run at 02:30 happens at 03:00",
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2025-03-29 12:00",
            "on 2025-03-30 the clock jumps from 02:00 to 03:00, so the runs at 02:00 and 02:30 happen once, at 03:00",
        ),
        (
            "*/10 2 * * *",
            "Europe/Berlin",
            "2025-03-29 12:00",
            "on 2025-03-30 the clock jumps from 02:00 to 03:00, so the 6 runs from 02:00 to 02:50 do not happen",
        ),
        (
            "0 */2 * * *",
            "Europe/Berlin",
            "2025-03-29 23:00",
            "on 2025-03-30 the clock jumps from 02:00 to 03:00, so the run at 02:00 does not happen",
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2025-11-01 12:00",
            "on 2025-11-02 the clock goes back from 02:00 to 01:00, so 01:30 occurs twice; it runs once, at the first",
        ),
        (
            "0,30 1 * * *",
            "America/New_York",
            "2025-11-01 12:00",
            "on 2025-11-02 the clock goes back from 02:00 to 01:00, so 01:00 and 01:30 occur twice; "
            "each runs once, at its first",
        ),
        (
            "*/30 1 * * *",
            "America/New_York",
            "2025-11-01 12:00",
            "on 2025-11-02 the clock goes back from 02:00 to 01:00, so the runs at 01:00 and 01:30 happen twice",
        ),
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03 12:00",
            "on 2018-11-04 the clock jumps from 00:00 to 01:00, so the run at 00:00 happens at 01:00",
        ),
        (
            "30 23 * * *",
            "America/Sao_Paulo",
            "2018-02-17 12:00",
            "on 2018-02-18 the clock goes back from 00:00 to 2018-02-17 23:00, so 2018-02-17 23:30 occurs twice; "
            "it runs once, at the first",
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29 00:00",
            "on 2011-12-30 the clock jumps from 00:00 to 2011-12-31 00:00, so the run at 12:00 happens at "
            "2011-12-31 00:00",
        ),
        (
            "0 * * * *",
            "Australia/Lord_Howe",
            "2025-10-05 00:30",
            "on 2025-10-05 the clock jumps from 02:00 to 02:30, so the run at 02:00 does not happen",
        ),
    ],
)
def test_a_warning_tells_how_a_change_of_the_clock_bends_a_run_that_is_shown(
    text: str, zone: str, after: str, warning: str
) -> None:
    assert show(text, zone, after).warnings == (warning,)


def test_a_repeated_time_is_warned_of_where_its_run_is_the_last_one_shown() -> None:
    assert len(show("30 1 * * *", "America/New_York", "2025-11-01 12:00", count=1).warnings) == 1
    assert show("30 1 * * *", "America/New_York", "2025-11-01 00:00", count=1).warnings == ()


@pytest.mark.parametrize(
    ("text", "zone", "after"),
    [
        ("0 * * * *", "Europe/Berlin", "2025-03-30 00:30"),
        ("*/15 * * * *", "Europe/Berlin", "2025-10-26 01:50"),
        ("*/30 * * * *", "Australia/Lord_Howe", "2025-10-05 00:30"),
        ("* * * * *", "America/New_York", "2025-11-02 00:58"),
        ("0 9 * * *", "Europe/Berlin", "2025-03-29 12:00"),
        ("30 2 * * *", "Europe/Berlin", "2025-03-20 12:00"),
        ("30 2 * * *", "Asia/Kathmandu", "2025-03-29 12:00"),
        ("30 2 * * *", "UTC", "2025-03-29 12:00"),
        ("0 0 28 * *", "UTC", "2025-01-01 00:00"),
        ("0 0 31 1,3,5 *", "UTC", "2025-01-01 00:00"),
        ("0 0 31 * 1", "UTC", "2025-01-01 00:00"),
        ("0 0 29 1 *", "UTC", "2025-01-01 00:00"),
    ],
)
def test_there_is_no_warning_where_nothing_is_bent(text: str, zone: str, after: str) -> None:
    assert show(text, zone, after).warnings == ()


def test_days_that_some_months_lack_are_warned_of() -> None:
    assert show("0 0 31 * *", "UTC", "2025-01-01 00:00").warnings == (
        "day 31 does not occur in February, April, June, September, November: there is no run",
    )
    assert show("0 0 30-31 2,3 *", "UTC", "2025-01-01 00:00").warnings == (
        "day 30 does not occur in February: there is no run",
    )
    for text in ("0 0 29 2 *", "0 0 29 * *"):
        (warning,) = show(text, "UTC", "2025-01-01 00:00").warnings
        assert warning.startswith("29 February occurs in leap years only")


@pytest.mark.parametrize(
    ("text", "step", "field"), [("*/90 * * * *", "*/90", "minute"), ("0 */24 * * *", "*/24", "hour")]
)
def test_a_step_that_leads_nowhere_is_warned_of(text: str, step: str, field: str) -> None:
    (warning,) = show(text, "UTC", "2025-01-01 00:00").warnings
    assert f"in '{step}' leads beyond the last {field} at once" in warning


def test_warnings_about_the_clock_stay_few_however_many_runs_are_shown() -> None:
    shown = show("30 2 * * 0", "Europe/Berlin", "2025-01-01 00:00", count=MAX_RUNS + 5)
    assert len(shown.runs) == MAX_RUNS
    assert len(shown.warnings) == 4


def test_a_preview_at_the_end_of_the_calendar_has_no_runs() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert preview(parse_cron("* * * * *"), parse_zone("Europe/Berlin"), last, 3).runs == ()
