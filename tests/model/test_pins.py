"""Dynamic pins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogpt_server.model.pins import NOTHING, Pin, base_name, merge_inputs, parse_pin, select


@pytest.mark.parametrize(
    ("name", "pin"),
    [
        ("plain", Pin("plain", ())),
        ("list_$_0", Pin("list", (0,))),
        ("list_$_12", Pin("list", (12,))),
        ("dict_#_key", Pin("dict", ("key",))),
        ("object_@_attr", Pin("object", ("attr",))),
        ("dict_#_rows_$_3_#_name", Pin("dict", ("rows", 3, "name"))),
        ("dict_#_1", Pin("dict", ("1",))),
    ],
)
def test_a_name_is_taken_apart(name: str, pin: Pin) -> None:
    assert parse_pin(name) == pin
    assert base_name(name) == pin.base


@pytest.mark.parametrize(
    "name",
    ["", "a_$_", "a_$_x", "a_$_-1", "a_$_01", "a_$_١", "a_$_1234567890", "_$_1", "a_#_", "a" + "_#_k" * 9],
)
def test_a_malformed_name_is_a_plain_pin_that_no_block_has(name: str) -> None:
    assert parse_pin(name) == Pin(name, ())


@pytest.mark.parametrize(
    ("value", "name", "part"),
    [
        ([1, None], "p_$_0", 1),
        ([1, None], "p_$_1", None),
        ([1, None], "p_$_2", NOTHING),
        ("text", "p_$_0", NOTHING),
        ({"0": 1}, "p_$_0", NOTHING),
        ({"k": None}, "p_#_k", None),
        ({"k": None}, "p_@_k", None),
        ({}, "p_#_k", NOTHING),
        ([1], "p_#_k", NOTHING),
        ({"k": [{"n": 5}]}, "p_#_k_$_0_#_n", 5),
        ({"k": []}, "p_#_k_$_0_#_n", NOTHING),
    ],
)
def test_an_output_selector_takes_a_part_or_nothing(value: Any, name: str, part: Any) -> None:
    assert select(value, parse_pin(name).steps) is part or select(value, parse_pin(name).steps) == part


@pytest.mark.parametrize(
    ("defaults", "received", "merged"),
    [
        ({"a": 1}, {"a": None, "b": 2}, {"a": None, "b": 2}),
        ({"texts_$_3": "c"}, {"texts_$_2": "b", "texts_$_1": "a"}, {"texts": ["a", "b", "c"]}),
        ({"texts": ["x"]}, {"texts_$_10": "b", "texts_$_9": "a"}, {"texts": ["x", "a", "b"]}),
        ({"texts": None}, {"texts_$_0": "a"}, {"texts": ["a"]}),
        ({"d": {"k": 1, "l": 2}}, {"d_#_k": 3, "d_@_m": 4}, {"d": {"k": 3, "l": 2, "m": 4}}),
        ({}, {"d_#_k": None}, {"d": {"k": None}}),
        ({"d": {"rows": [0]}}, {"d_#_rows_$_2": 2, "d_#_rows_$_1": 1}, {"d": {"rows": [0, 1, 2]}}),
        ({}, {"d_#_rows": [0], "d_#_rows_$_1": 1}, {"d": {"rows": [0, 1]}}),
        ({}, {"rows_$_1_#_a": 1, "rows_$_1_#_b": 2, "rows_$_0": 0}, {"rows": [0, {"a": 1, "b": 2}]}),
    ],
)
def test_dynamic_inputs_fold_into_their_plain_pins(
    defaults: dict[str, Any], received: dict[str, Any], merged: dict[str, Any]
) -> None:
    assert merge_inputs(defaults, received) == merged


@pytest.mark.parametrize(
    "inputs", [{"t": "text", "t_$_0": 1}, {"t": [1], "t_#_k": 1}, {"t_$_0": 1, "t_#_k": 1}, {"t_$_0": 3, "t": {}}]
)
def test_parts_that_do_not_fit_stay_for_the_block_to_refuse(inputs: dict[str, Any]) -> None:
    assert merge_inputs({}, inputs) == inputs


_names = st.sampled_from(["p", "p_$_0", "p_$_1", "p_#_k", "p_#_k_$_0", "p_@_k", "q_$_2", "q"])
_values = st.recursive(
    st.none() | st.integers(0, 3), lambda v: st.lists(v, max_size=2) | st.dictionaries(st.just("k"), v)
)


@given(st.dictionaries(_names, _values), st.dictionaries(_names, _values))
def test_merging_changes_neither_side_nor_any_value(defaults: dict[str, Any], received: dict[str, Any]) -> None:
    before = repr((defaults, received))
    merged = merge_inputs(defaults, received)
    assert repr((defaults, received)) == before
    assert {base_name(name) for name in merged} == {base_name(name) for name in (*defaults, *received)}
