from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from autogpt_server.scheduler.cron import parse_cron
from autogpt_server.scheduler.cron_words import describe
from tests.scheduler.debian_walker import Rule

GOLDEN = [
    ("* * * * *", "every minute"),
    ("*/15 * * * *", "every 15 minutes"),
    ("*/7 * * * *", "at every 7th minute from 0 to 56 of every hour"),
    ("5/15 * * * *", "at every 15th minute from 5 to 50 of every hour"),
    ("0 * * * *", "every hour"),
    ("30 * * * *", "every hour at minute 30"),
    ("0,30 * * * *", "at minutes 0 and 30 of every hour"),
    ("0 9 * * *", "at 09:00 every day"),
    ("0 9 * * 1-5", "at 09:00 on weekdays"),
    ("30 9,17 * * *", "at 09:30 and 17:30 every day"),
    ("0 0 13 * 5", "at 00:00 on day 13 of the month or on Fridays"),
    ("0 0 * * 0", "at 00:00 on Sundays"),
    ("@yearly", "at 00:00 on 1 January"),
    ("@monthly", "at 00:00 on day 1 of the month"),
    ("0 0 29 2 *", "at 00:00 on 29 February"),
    ("0 0 1 1,4,7,10 *", "at 00:00 on day 1 of the month, in January, April, July and October"),
    ("0 0 1-7 * 1", "at 00:00 on days 1 to 7 of the month or on Mondays"),
    ("0 0 1-7 * */1", "at 00:00 on days 1 to 7 of the month"),
    ("0 0 */2 * 1", "at 00:00 on Mondays that fall on every 2nd day from 1 to 31 of the month"),
    ("0 0 1-31/2 * 1", "at 00:00 on every 2nd day from 1 to 31 of the month or on Mondays"),
    ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
    ("15 9-17 * * 1-5", "every hour from 09:15 to 17:15 on weekdays"),
    ("0 */2 * * *", "every 2 hours"),
    ("30 */2 * * *", "every 2 hours from 00:30 to 22:30"),
    ("0 1-23/2 * * *", "every 2 hours from 01:00 to 23:00"),
    ("*/5 9-17 * * 1-5", "every 5 minutes from 09:00 to 17:55 on weekdays"),
    ("* 9 * * *", "every minute from 09:00 to 09:59"),
    ("* 9,12 * * *", "every minute during hours 9 and 12"),
    ("*/20 9 * * *", "at 09:00, 09:20 and 09:40 every day"),
    ("0-29 * * * *", "at minutes 0 to 29 of every hour"),
    ("1,5,20 8-18 * * *", "at minutes 1, 5 and 20 of hours 8 to 18"),
    ("0 9 * 6-8 *", "at 09:00 every day from June to August"),
    ("0 9 * 6-8 1", "at 09:00 on Mondays from June to August"),
    ("0 9 15 6-8 1", "at 09:00 on day 15 of the month or on Mondays, from June to August"),
    ("0 9 1,15 * *", "at 09:00 on days 1 and 15 of the month"),
    ("0 0 28-31 * *", "at 00:00 on days 28 to 31 of the month"),
    ("0 0 1-31 * 1", "at 00:00 every day"),
    ("0 9 * * 6,0", "at 09:00 on weekends"),
    ("0 9 * * 1,3,5", "at 09:00 on Mondays, Wednesdays and Fridays"),
    ("0 9 * * 1-6", "at 09:00 on Mondays, Tuesdays, Wednesdays, Thursdays, Fridays and Saturdays"),
    ("0 22-23,0-2 * * *", "at 00:00, 01:00, 02:00, 22:00 and 23:00 every day"),
    ("*/10 22-23,0-5 * * *", "every 10 minutes during hours 0 to 5, 22 and 23"),
    ("0 8-20/4 * * *", "every 4 hours from 08:00 to 20:00"),
    ("7 */6 * * *", "every 6 hours from 00:07 to 18:07"),
    ("*/90 * * * *", "every hour"),
    ("*/40 * * * *", "at minutes 0 and 40 of every hour"),
    ("0 0 * 1-6 *", "at 00:00 every day from January to June"),
    ("59 23 31 12 *", "at 23:59 on 31 December"),
    ("0 12 1-15 */3 *", "at 12:00 on days 1 to 15 of the month, in January, April, July and October"),
    ("* * * * 1", "every minute on Mondays"),
    ("*/5 * * 2 *", "every 5 minutes in February"),
    ("10-50/10 * * * *", "at every 10th minute from 10 to 50 of every hour"),
]


@pytest.mark.parametrize(("text", "words"), GOLDEN)
def test_expressions_are_described_in_words(text: str, words: str) -> None:
    assert describe(parse_cron(text)) == words


def meaning(text: str, days: list[datetime]) -> tuple[object, ...]:
    """When an expression comes, read without the code under test: times of a day, and days out of many."""
    rule = Rule(text)
    first = datetime(2024, 1, 1, min(rule.hours), min(rule.minutes))  # noqa: DTZ001
    times = frozenset((hour, minute) for hour in rule.hours for minute in rule.minutes)
    return times, frozenset(day for day in days if rule.fits(day.replace(hour=first.hour, minute=first.minute)))


def test_expressions_with_the_same_words_come_at_the_same_times() -> None:
    chance = random.Random(4)
    days = [datetime(2024, 1, 1) + timedelta(days=each) for each in range(0, 5 * 366)]  # noqa: DTZ001
    minutes = [
        "*",
        "0",
        "5",
        "0,30",
        "*/5",
        "*/7",
        "5/15",
        "5-59/15",
        "0-59",
        "0-58",
        "0-59/5",
        "*/15",
        "0,15,30",
        "1,2,3,9",
    ]
    hours = [
        "*",
        "0",
        "9",
        "9-17",
        "9-16",
        "*/2",
        "1/2",
        "2-22/2",
        "0,12",
        "9,10,11",
        "0-23",
        "22-23,0-2",
        "8-20/4",
        "23",
    ]
    dates = ["*", "1", "13", "*/2", "1-31/2", "1-31", "1-7", "1,15", "28-31", "29", "1,2,3,5", "*/10", "2/2"]
    months = ["*", "1", "2", "1-6", "*/3", "1,2", "1,3", "1-12", "6-8", "6,7,9"]
    weekdays = ["*", "1", "1-5", "0,6", "6-7", "*/2", "0-6", "1,3,5", "1-6", "*/1", "7", "1-3", "1,2,3"]
    seen: dict[str, str] = {}
    compared = 0
    for _ in range(6000):
        text = " ".join(map(chance.choice, (minutes, hours, dates, months, weekdays)))
        try:
            words = describe(parse_cron(text))
        except ValueError:
            continue
        # Most words are met once; what they mean is worked out at the second time.
        if words in seen:
            assert meaning(text, days) == meaning(seen[words], days), f"{text} and {seen[words]} are both {words!r}"
            compared += 1
        seen[words] = text
    assert len(seen) > 2000
    assert compared > 300


def test_words_stay_readable_for_whatever_an_expression_names() -> None:
    text = ",".join(str(each) for each in range(0, 60) if each % 3) + " 1,2,4,5,7,8,10,11 1,3,6,10,15,21,28 1,4,9 1,2,4"
    words = describe(parse_cron(text))
    assert words.startswith("at minutes 1, 2, 4, 5, 7, 8, 10, ")
    assert words.endswith(
        "of hours 1, 2, 4, 5, 7, 8, 10 and 11 on days 1, 3, 6, 10, 15, 21 and 28 of the month"
        " or on Mondays, Tuesdays and Thursdays, in January, April and September"
    )
