from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogpt_server.data.pages import decode_cursor, encode_cursor
from autogpt_server.errors import InvalidError

positions = st.recursive(
    st.integers(-(2**60), 2**60) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    st.lists,
    max_leaves=5,
)


@given(positions)
def test_a_position_comes_back_from_its_cursor(position: Any) -> None:
    cursor = encode_cursor(position)

    assert decode_cursor(cursor) == position
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_")


@pytest.mark.parametrize("cursor", ["", "%", "é", "a", "AAAA", "bm90IGpzb24", "x" * 5000, "\ud800", "W10=="])
def test_a_cursor_that_nobody_gave_is_refused_by_name(cursor: str) -> None:
    with pytest.raises(InvalidError) as caught:
        decode_cursor(cursor)

    assert [problem.path for problem in caught.value.problems] == ["cursor"]
