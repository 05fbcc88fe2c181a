"""What is no Unix cron is refused, with the field, what is wrong, and what would be right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogpt_server.errors import InvalidError
from autogpt_server.scheduler.cron import MAX_LENGTH, parse_cron

FIELDS = ["minute", "hour", "day of month", "month", "day of week"]
FITTING = ["0", "0", "1", "1", "*"]


def refuse(text: str) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        parse_cron(text)
    assert caught.value.problems
    for problem in caught.value.problems:
        assert problem.path == "cron"
        assert problem.message
        assert problem.fix
    return caught.value


def refuse_field(number: int, text: str) -> str:
    """Put a bad field among good ones, and return the one problem, which names the field."""
    parts = FITTING.copy()
    parts[number] = text
    (problem,) = refuse(" ".join(parts)).problems
    assert problem.message.startswith(f"{FIELDS[number]}: ")
    return str(problem)


#: What no field takes.
NOWHERE = [
    *("*/0", "*/00", "*/", "*/*", "*/-1", "*/x", "*/1/2", "*//2", "*/1.5", "*/10000", "/5", "/", "1/0", "1-3/0"),
    *(",", "1,", ",1", "1,,2", "1,2,", ",,", "-", "1-", "-1", "--1", "1--2", "1-2-3", "*-5", "1-*", "**", "*5", "5*"),
    *(
        "?",
        "1?",
        "?/2",
        "L",
        "l",
        "LW",
        "W",
        "15W",
        "1w",
        "L-3",
        "5L",
        "FRIL",
        "1#2",
        "FRI#1",
        "#",
        "H",
        "H/5",
        "H(0-5)",
    ),
    *(
        "100",
        "99999",
        "9" * 50,
        "9" * 5000,
        "0x1",
        "1e0",
        "1.0",
        "+1",
        "1_0",
        "1;2",
        "1:2",
        "1|2",
        "!1",
        "~1",
        "1~3",
        "$",
    ),
    *(
        "MO",
        "MOND",
        "JA",
        "FOO",
        "JAN-",
        "-MON",
        "MON-FRI-SUN",
        "TRUE",
        "None",
        "''",
        '"1"',
        "(1)",
        "[1]",
        "{1}",
        "\\1",
        "%",
    ),
]


@pytest.mark.parametrize("number", range(5), ids=FIELDS)
@pytest.mark.parametrize("text", NOWHERE, ids=lambda text: text[:12])
def test_what_no_field_takes_is_refused_in_each(number: int, text: str) -> None:
    assert len(refuse_field(number, text)) < 400


@pytest.mark.parametrize(
    ("number", "text", "fix"),
    [
        (0, "60", "minutes go from 0 to 59"),
        (0, "0-60", "minutes go from 0 to 59"),
        (0, "5,75", "minutes go from 0 to 59"),
        (0, "60/5", "minutes go from 0 to 59"),
        (1, "24", "hours go from 0 to 23; midnight is 0"),
        (1, "9-24", "midnight is 0"),
        (2, "0", "days go from 1 to 31"),
        (2, "32", "days go from 1 to 31"),
        (3, "0", "months go from 1 to 12"),
        (3, "13", "months go from 1 to 12"),
        (4, "8", "7 is Sunday too"),
        (4, "0-8", "7 is Sunday too"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(number: int, text: str, fix: str) -> None:
    problem = refuse_field(number, text)
    assert "is out of range" in problem
    assert fix in problem


@pytest.mark.parametrize(
    ("number", "text", "fix"),
    [
        (0, "50-10", "write 50-59,0-10"),
        (0, "59-0", "write 59,0"),
        (1, "22-2", "write 22-23,0-2"),
        (1, "22-2/2", "write 22,0,2"),
        (2, "28-3", "write 28-31,1-3"),
        (3, "11-2", "write 11-12,1-2"),
        (3, "NOV-FEB", "write 11-12,1-2"),
        (3, "11-2/3", "write 11,2"),
        (4, "FRI-MON", "write 5-6,0-1"),
        (4, "5-2/2", "write 5,0,2"),
        (4, "SAT-SUN", "write 6-7"),
        (4, "1-0", "write 1-7"),
        (4, "7-3", "write 0-3"),
        (4, "7-6/2", "write 0-6/2"),
    ],
)
def test_a_range_that_runs_backwards_is_refused_with_the_way_to_write_it(number: int, text: str, fix: str) -> None:
    problem = refuse_field(number, text)
    assert "runs backwards" in problem
    assert problem.endswith(f"({fix})")
    parts = FITTING.copy()
    parts[number] = fix.removeprefix("write ")
    assert parse_cron(" ".join(parts))


@pytest.mark.parametrize(
    ("number", "text", "fix"),
    [
        (3, "January", "write JAN"),
        (4, "monday", "write MON"),
        (4, "Thurs", "write THU"),
        (0, "MON", "MON is for the field 'day of week'"),
        (1, "jan", "JAN is for the field 'month'"),
        (3, "FRI", "FRI is for the field 'day of week'"),
        (4, "DEC", "DEC is for the field 'month'"),
    ],
)
def test_a_name_that_does_not_fit_is_refused_with_what_was_meant(number: int, text: str, fix: str) -> None:
    assert fix in refuse_field(number, text)


@pytest.mark.parametrize("text", ["", " ", "\t", "   \t  "])
def test_an_empty_expression_is_refused_with_the_names_of_the_fields(text: str) -> None:
    problem = str(refuse(text))
    assert "empty" in problem
    assert "minute, hour, day of month, month, day of week" in problem


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 8, 20])
def test_a_wrong_number_of_fields_is_refused_with_the_names_of_the_fields(count: int) -> None:
    problem = str(refuse(" ".join("*" * count)))
    assert f"has {count} field" in problem
    assert "minute, hour, day of month, month, day of week" in problem
    assert ("seconds and years are not supported" in problem) == (count in (6, 7))


@pytest.mark.parametrize(
    "text",
    [
        *("0 0 30 2 *", "0 0 31 2 *", "0 0 30,31 2 *", "0 0 30-31 FEB *", "0 0 31 4 *", "0 0 31 4,6,9,11 *"),
        *("0 0 31 2-4/2 */2", "0 0 30 2 */7", "* * 31 2,4 *"),
    ],
)
def test_a_date_that_never_comes_is_refused(text: str) -> None:
    (problem,) = refuse(text).problems
    assert problem.message.startswith("day of month: ")
    assert "never comes" in problem.message


@pytest.mark.parametrize(
    "text",
    ["0 0 29 2 *", "0 0 31 2 1", "0 0 30 2 0-7", "0 0 31 1,2 *", "0 0 28-31 2 *", "0 0 */30 2 *", "0 0 31 2/2 */2"],
)
def test_a_date_that_comes_at_times_is_not_refused(text: str) -> None:
    assert parse_cron(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@reboot", "has no time"),
        ("@REBOOT", "has no time"),
        ("@every 5m", "write */5"),
        ("@fortnightly", "there is @yearly"),
        ("@", "there is @yearly"),
        ("@daily 5", "stands alone"),
        ("@daily * * * *", "stands alone"),
        ("@ daily", "there is @yearly"),
        ("@" + "x" * 9000, "there is @yearly"),
    ],
)
def test_a_shorthand_that_cannot_be_is_refused_with_the_reason(text: str, says: str) -> None:
    error = refuse(text)
    assert says in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    "character",
    ["\n", "\r", "\0", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\xa0", "\u2003", "\u2028", "\u200b", "\ufeff", "\ud800"]
    + ["٥", "５", "²", "Ⅴ", "–", "∗", "é", "ß", "🕘", "ſ"],
)
@pytest.mark.parametrize("form", ["{}0 0 1 1 *", "0{}0 1 1 *", "0 {} 1 1 *", "0 0 1 1 *{}", "0 0 1 1 MON{}"])
def test_characters_that_are_no_part_of_cron_are_refused_and_shown_in_ascii(character: str, form: str) -> None:
    error = refuse(form.format(character))
    assert f"the character {ascii(character)} is no part of cron" in str(error)
    assert character == "\n" or error.message.isprintable()


def test_an_expression_that_is_too_long_is_refused_unread_and_a_long_one_is_read() -> None:
    error = refuse("0," * MAX_LENGTH + "0 0 1 1 *")
    assert f"at most {MAX_LENGTH} are read" in str(error)
    assert len(str(error)) < 500
    assert parse_cron(",".join(["0"] * 4900) + " 0 1 1 *").minute.values == (0,)


def test_all_bad_fields_are_named_at_once() -> None:
    problems = [each.message for each in refuse("60 24 32 13 8").problems]
    assert problems == [
        f"{name}: {value} is out of range" for name, value in zip(FIELDS, [60, 24, 32, 13, 8], strict=True)
    ]


def test_the_message_shows_the_expression_and_the_place_it_stands_at() -> None:
    with pytest.raises(InvalidError) as caught:
        parse_cron("0 25 * * *", path="schedules[2].cron")
    assert str(caught.value) == (
        "The cron expression '0 25 * * *' is not valid.\n"
        "- schedules[2].cron: hour: 25 is out of range (hours go from 0 to 23; midnight is 0)"
    )


@given(st.text(alphabet="0123456789*/,-?LW#@ \tMONJAFEBSU", max_size=40))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        expression = parse_cron(text)
    except InvalidError as error:
        assert error.problems
    else:
        assert parse_cron(expression.text) == expression


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_cron("x" + text)
