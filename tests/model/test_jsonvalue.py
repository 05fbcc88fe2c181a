"""Which values can be stored, and that they come back as they were."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from autogpt_server.model.jsonvalue import MAX_DEPTH, JsonValueError, dumps, is_same, loads, plain, storable_text


class Colour(str, Enum):  # noqa: UP042 (its str() is not its value, unlike StrEnum's)
    RED = "red"


class Size(StrEnum):
    BIG = "big"


class Level(IntEnum):
    HIGH = 3


class Model(BaseModel):
    when: datetime
    tags: tuple[str, ...]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, None)), [1, [2, None]]),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, {"1": "a", "null": "b", "false": "c", "1.5": "d"}),
        (Colour.RED, "red"),
        ({Colour.RED: Size.BIG}, {"red": "big"}),
        (Level.HIGH, 3),
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Model(when=datetime(2024, 7, 1, tzinfo=UTC), tags=("a",)), {"when": "2024-07-01T00:00:00Z", "tags": ["a"]}),
        (b"bytes", "bytes"),
        pytest.param(10**4000, 10**4000, id="large"),
    ],
)
def test_values_become_what_json_makes_of_them(value: Any, expected: Any) -> None:
    assert is_same(plain(value), expected)


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        ("a\0b", "", "NUL"),
        ("a\ud800b", "", "lone surrogate at character 1"),
        ({"k": [1, {"l": "é\0"}]}, "k[1].l", "NUL"),
        ([float("nan")], "[0]", "nan is no JSON number"),
        ({"k": float("-inf")}, "k", "-inf is no JSON number"),
        ({"a\0": 1}, "", "NUL"),
        ({(1, 2): 1}, "", "a tuple cannot be a key"),
        ({1: "a", "1": "b"}, "", "has the key 1 twice"),
        ([object()], "[0]", "a object has no JSON form"),
        ([b"\xff"], "[0]", "a bytes has no JSON form"),
        pytest.param([10**5000], "[0]", "more than 4,200 digits", id="huge"),
        pytest.param(-(10**5000), "", "more than 4,200 digits", id="huge and negative"),
    ],
)
def test_what_storage_would_change_is_refused_with_its_place(value: Any, place: str, reason: str) -> None:
    with pytest.raises(JsonValueError) as refused:
        plain(value)
    assert refused.value.place == place
    assert reason in refused.value.reason


def test_nesting_has_a_limit_and_cycles_meet_it() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert plain(value) == value
    with pytest.raises(JsonValueError, match="deeper than 100 levels"):
        plain([value])
    cycle: list[Any] = []
    cycle.append({"k": cycle})
    with pytest.raises(JsonValueError, match="deeper than 100 levels"):
        plain(cycle)


def test_values_beside_very_long_keys_take_no_longer() -> None:
    value = {"k" * 5_000_000: list(range(100_000))}
    started = time.monotonic()
    assert plain(value) == value
    assert time.monotonic() - started < 5
    value["k" * 5_000_000].append(float("inf"))  # type: ignore[arg-type]
    with pytest.raises(JsonValueError) as refused:
        plain(value)
    assert len(refused.value.place) <= 200


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
)
_values = st.recursive(_scalars, lambda v: st.lists(v) | st.dictionaries(st.text("ab\u00e9\U0001f600"), v))


@settings(database=None)
@given(_values)
def test_plain_values_read_back_as_the_same(value: Any) -> None:
    stored = plain(value)
    assert is_same(stored, value)
    assert is_same(loads(dumps(stored)), value)


@settings(database=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_made_storable(text: str) -> None:
    assert plain(storable_text(text)) == storable_text(text)


def test_text_that_is_storable_stays_as_it_is() -> None:
    for text in ("", "plain", "two\nlines\t", "é\U0001f600", "\u200b"):
        assert storable_text(text) == text
    assert storable_text("a\0b\ud800") == "a\ufffdb?"


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0, False), (None, False), ("1", 1), ([1], [1, 1]), ({"a": 1}, {"a": 1.0}), ({}, [])],
)
def test_different_json_is_not_the_same(one: Any, other: Any) -> None:
    assert not is_same(one, other)
    assert not is_same([{"k": one}], [{"k": other}])


def test_the_order_of_keys_does_not_matter() -> None:
    assert is_same({"a": 1, "b": [2]}, {"b": [2], "a": 1})


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "", "{", "[" * 100_000, '"\\ud800"', b'"\xff"', "[1]]"])
def test_text_that_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)
