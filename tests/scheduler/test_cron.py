from __future__ import annotations

import itertools
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogpt_server.scheduler.cron import parse_cron
from autogpt_server.scheduler.zones import parse_zone

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
SAO_PAULO, APIA = "America/Sao_Paulo", "Pacific/Apia"


def runs(text: str, zone: str, after: str, count: int = 4) -> list[str]:
    """What comes after a wall time, as wall times with offsets."""
    place = parse_zone(zone)
    start = datetime.fromisoformat(after).replace(tzinfo=place)
    found = itertools.islice(parse_cron(text).fire_times(start, place), count)
    return [moment.astimezone(place).strftime("%Y-%m-%d %H:%M %z") for moment in found]


def days(text: str, count: int, after: str = "2025-01-01 00:00") -> list[str]:
    return [each[:10] for each in runs(text, "UTC", after, count)]


@pytest.mark.parametrize(
    ("text", "minutes", "hours", "days", "months", "weekdays"),
    [
        ("5 4 3 2 1", (5,), (4,), (3,), (2,), (1,)),
        ("05 04 03 02 01", (5,), (4,), (3,), (2,), (1,)),
        ("*/20 */8 */10 */5 */3", (0, 20, 40), (0, 8, 16), (1, 11, 21, 31), (1, 6, 11), (0, 3, 6)),
        ("1-5/2 1-3 1,2,2 jan-mar MON-fri", (1, 3, 5), (1, 2, 3), (1, 2), (1, 2, 3), (1, 2, 3, 4, 5)),
        ("50/3 20/2 30/1 dec 5/1", (50, 53, 56, 59), (20, 22), (30, 31), (12,), (0, 5, 6)),
        ("5-5/10 0 1 1 7", (5,), (0,), (1,), (1,), (0,)),
        ("0 0 1 1 5-7", (0,), (0,), (1,), (1,), (0, 5, 6)),
        ("0 0 1 1 0,7", (0,), (0,), (1,), (1,), (0,)),
        ("59,0-3,30 23 1 1 sun,Sat", (0, 1, 2, 3, 30, 59), (23,), (1,), (1,), (0, 6)),
    ],
)
def test_fields_name_the_values_of_unix_cron(
    text: str, minutes: object, hours: object, days: object, months: object, weekdays: object
) -> None:
    cron = parse_cron(text)
    assert [cron.minute.values, cron.hour.values, cron.day.values] == [minutes, hours, days]
    assert [cron.month.values, cron.weekday.values] == [months, weekdays]


@pytest.mark.parametrize(
    ("shorthand", "text"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("  @Daily\t", "0 0 * * *"),
    ],
)
def test_a_shorthand_comes_when_its_five_fields_come(shorthand: str, text: str) -> None:
    assert runs(shorthand, NEW_YORK, "2024-10-30 12:00", 40) == runs(text, NEW_YORK, "2024-10-30 12:00", 40)


def test_blanks_between_fields_do_not_matter() -> None:
    assert parse_cron("  0\t 9  * * \t1-5 ") == parse_cron("0 9 * * 1-5")
    assert str(parse_cron("  0\t 9  * * \t1-5 ")) == "0 9 * * 1-5"


def test_sunday_is_0_and_7_and_monday_is_1() -> None:
    assert days("0 0 * * 0", 2) == days("0 0 * * 7", 2) == days("0 0 * * sun", 2) == ["2025-01-05", "2025-01-12"]
    assert days("0 0 * * 1", 2) == ["2025-01-06", "2025-01-13"]


def test_one_of_two_restricted_day_fields_is_enough() -> None:
    assert days("0 0 13 * 5", 4, "2025-06-01 00:00") == ["2025-06-06", "2025-06-13", "2025-06-20", "2025-06-27"]
    assert days("0 0 13 * 5", 6, "2025-07-01 00:00")[1:4] == ["2025-07-11", "2025-07-13", "2025-07-18"]


def test_both_day_fields_must_fit_where_one_begins_with_a_star() -> None:
    assert days("0 0 */2 * 1", 3) == ["2025-01-13", "2025-01-27", "2025-02-03"]
    assert days("0 0 13 * */5", 2) == ["2025-04-13", "2025-06-13"]
    # Without the star the same values are joined by "or".
    assert days("0 0 1-31/2 * 1", 4) == ["2025-01-03", "2025-01-05", "2025-01-06", "2025-01-07"]


def test_a_full_range_of_days_without_a_star_makes_every_day_fit() -> None:
    assert days("0 0 1-31 * 1", 3) == ["2025-01-02", "2025-01-03", "2025-01-04"]
    assert days("0 0 31 2 0-6", 2) == ["2025-02-01", "2025-02-02"]


def test_a_leap_day_comes_every_four_years_and_on_a_sunday_after_up_to_forty() -> None:
    assert days("0 0 29 2 *", 3) == ["2028-02-29", "2032-02-29", "2036-02-29"]
    assert days("0 0 29 2 */7", 3, "2060-01-01 00:00") == ["2060-02-29", "2088-02-29", "2128-02-29"]


@pytest.mark.parametrize("weekday", range(7))
def test_a_leap_day_on_any_weekday_is_found_over_a_century_without_a_leap_year(weekday: int) -> None:
    # Days 1 and 29 of February that are this weekday.
    times = parse_cron(f"0 0 */28 2 {weekday}").fire_times(datetime(2068, 1, 1, tzinfo=UTC), parse_zone("UTC"))
    leap_days = [datetime(year, 2, 29, tzinfo=UTC) for year in range(2068, 2150, 4) if year != 2100]
    found = [each for each in itertools.takewhile(lambda each: each.year < 2150, times) if each.day == 29]
    assert found == [each for each in leap_days if each.isoweekday() % 7 == weekday]


def test_a_skipped_fixed_time_comes_right_after_the_jump_and_only_there() -> None:
    assert runs("30 2 * * *", BERLIN, "2025-03-29 00:00", 3) == [
        "2025-03-29 02:30 +0100",
        "2025-03-30 03:00 +0200",
        "2025-03-31 02:30 +0200",
    ]
    # Several of them, and one that stands there anyhow, come as one.
    assert runs("0,30 2,3 * * *", BERLIN, "2025-03-30 00:00", 2) == ["2025-03-30 03:00 +0200", "2025-03-30 03:30 +0200"]


def test_a_repeated_fixed_time_comes_the_first_time_only() -> None:
    assert runs("30 1 * * *", NEW_YORK, "2025-11-01 12:00", 2) == ["2025-11-02 01:30 -0400", "2025-11-03 01:30 -0500"]


def test_a_fixed_time_does_not_come_in_the_past_when_it_is_asked_for_while_the_clock_repeats_itself() -> None:
    zone = parse_zone(NEW_YORK)
    second_time = datetime(2025, 11, 2, 1, 10, tzinfo=zone, fold=1)
    assert parse_cron("30 1 * * *").next_after(second_time, zone) == datetime(2025, 11, 3, 1, 30, tzinfo=zone)


def test_wildcards_go_by_elapsed_time() -> None:
    assert runs("*/30 * * * *", BERLIN, "2025-03-30 01:00", 3) == [
        "2025-03-30 01:30 +0100",
        "2025-03-30 03:00 +0200",
        "2025-03-30 03:30 +0200",
    ]
    assert runs("0 * * * *", NEW_YORK, "2025-11-02 00:00", 3) == [
        "2025-11-02 01:00 -0400",
        "2025-11-02 01:00 -0500",
        "2025-11-02 02:00 -0500",
    ]
    assert runs("*/30 1 * * *", NEW_YORK, "2025-11-02 00:00", 5)[:4] == [
        "2025-11-02 01:00 -0400",
        "2025-11-02 01:30 -0400",
        "2025-11-02 01:00 -0500",
        "2025-11-02 01:30 -0500",
    ]


def test_half_an_hour_is_repeated_and_skipped_on_lord_howe() -> None:
    # From 02:00 back to 01:30, and from 02:00 on to 02:30.
    assert runs("15,45 */1 * * *", LORD_HOWE, "2025-04-06 01:20", 3) == [
        "2025-04-06 01:45 +1100",
        "2025-04-06 01:45 +1030",
        "2025-04-06 02:15 +1030",
    ]
    assert runs("5 */2 * * *", LORD_HOWE, "2025-04-06 01:00", 1) == ["2025-04-06 02:05 +1030"]
    assert runs("15 2 * * *", LORD_HOWE, "2025-10-05 00:00", 1) == ["2025-10-05 02:30 +1100"]


def test_midnight_that_does_not_occur_skips_no_day() -> None:
    assert runs("0 0 * * *", SAO_PAULO, "2018-11-03 12:00", 2) == ["2018-11-04 01:00 -0200", "2018-11-05 00:00 -0200"]
    assert runs("0 0 * * *", "Africa/Cairo", "2014-05-15 12:00", 1) == ["2014-05-16 01:00 +0300"]
    assert runs("0 0 * * *", "Asia/Beirut", "2015-03-28 12:00", 1) == ["2015-03-29 01:00 +0300"]
    # What goes by the clock has nothing to show for it.
    assert runs("*/30 0 * * *", SAO_PAULO, "2018-11-03 12:00", 1) == ["2018-11-05 00:00 -0200"]


def test_the_day_that_samoa_left_out_comes_at_its_end() -> None:
    assert runs("0 12 * * *", APIA, "2011-12-29 00:00", 3) == [
        "2011-12-29 12:00 -1000",
        "2011-12-31 00:00 +1400",
        "2011-12-31 12:00 +1400",
    ]
    assert runs("0 12 30 12 *", APIA, "2011-01-01 00:00", 2) == ["2011-12-31 00:00 +1400", "2012-12-30 12:00 +1400"]


def test_offsets_of_quarter_hours_are_kept() -> None:
    assert runs("0 9 * * *", "Asia/Kathmandu", "2025-01-01 00:00", 1) == ["2025-01-01 09:00 +0545"]


def test_what_comes_lies_after_the_moment_asked_about_even_by_a_microsecond() -> None:
    cron, zone, nine = parse_cron("0 9 * * *"), parse_zone("UTC"), datetime(2025, 1, 1, 9, tzinfo=UTC)
    assert cron.next_after(nine - timedelta(microseconds=1), zone) == nine
    assert cron.next_after(nine, zone) == nine + timedelta(days=1)
    assert cron.next_after(nine + timedelta(microseconds=1), zone) == nine + timedelta(days=1)


def test_the_moment_may_stand_in_any_zone_and_the_answer_is_utc() -> None:
    cron, zone = parse_cron("0 9 * * *"), parse_zone(BERLIN)
    moment = datetime(2025, 6, 1, 5, tzinfo=parse_zone(NEW_YORK))
    found = cron.next_after(moment, zone)
    assert found == cron.next_after(moment.astimezone(UTC), zone) == datetime(2025, 6, 2, 7, tzinfo=UTC)
    assert found is not None
    assert found.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="must be aware"):
        parse_cron("0 9 * * *").next_after(datetime(2025, 1, 1), parse_zone("UTC"))  # noqa: DTZ001


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("text", ["* * * * *", "0 0 29 2 *", "0 0 1 1 *"])
def test_nothing_comes_after_the_end_of_the_calendar(zone: str, text: str) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert parse_cron(text).next_after(last, parse_zone(zone)) is None


def test_an_expression_pickles() -> None:
    cron = parse_cron("0 9 * * 1-5")
    again = pickle.loads(pickle.dumps(cron))
    assert again == cron
    after, zone = datetime(2025, 1, 1, tzinfo=UTC), parse_zone(BERLIN)
    assert again.next_after(after, zone) == cron.next_after(after, zone)


@settings(max_examples=300, deadline=None)
@given(
    moment=st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, SAO_PAULO, APIA, "Asia/Kathmandu", "Africa/Casablanca"]),
    text=st.sampled_from(
        ["* * * * *", "*/7 1-3 * * *", "0,30 0-3 * * *", "5 4 */3 * 1", "0 0 13 * 5", "59 23 31 12 *"]
    ),
)
def test_what_comes_next_lies_after_the_moment_and_nothing_lies_between(moment: datetime, zone: str, text: str) -> None:
    cron, place = parse_cron(text), parse_zone(zone)
    found = cron.next_after(moment, place)
    assert found is not None
    assert found > moment
    assert cron.next_after(found - timedelta(seconds=1), place) == found
    assert cron.next_after(moment + (found - moment) / 2, place) == found
