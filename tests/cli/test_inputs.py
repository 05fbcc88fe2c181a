"""Inputs on the command line."""

from __future__ import annotations

import pytest

from autogpt_server.cli.inputs import parse_inputs, parse_value
from autogpt_server.errors import InvalidError


@pytest.mark.parametrize(
    "text,value",
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ('[1, "a"]', [1, "a"]),
        ('{"a": {"b": 2}}', {"a": {"b": 2}}),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("Oslo", "Oslo"),
        ("", ""),
        ("[1,", "[1,"),
        ("NaN", "NaN"),
        ("a=b", "a=b"),
    ],
)
def test_a_value_is_json_where_it_parses_and_text_where_not(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_pairs_go_over_the_file(tmp_path):
    file = tmp_path / "inputs.json"
    file.write_text('{"city": "Oslo", "days": 2}')

    assert parse_inputs(["days=3", "note=x=y"], file) == {"city": "Oslo", "days": 3, "note": "x=y"}


def test_every_bad_pair_is_named_at_once():
    with pytest.raises(InvalidError) as error:
        parse_inputs(["city", "=3", "n=1", "n=2"], None)

    assert [problem.message.split()[0] for problem in error.value.problems] == ["'city'", "'=3'", "n"]


@pytest.mark.parametrize("content", ["[1]", "3", "{", '{"a": NaN}'])
def test_a_file_that_holds_no_object_is_refused(tmp_path, content):
    file = tmp_path / "inputs.json"
    file.write_text(content)

    with pytest.raises(InvalidError, match=r"inputs\.json"):
        parse_inputs([], file)
