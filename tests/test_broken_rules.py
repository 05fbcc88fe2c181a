"""The table of broken rules fits the code: each place is there once.  ``./scripts/break_rules`` breaks them."""

from __future__ import annotations

import pytest

from tests.broken_rules import BROKEN_RULES, ROOT, BrokenRule


@pytest.mark.parametrize("one", BROKEN_RULES, ids=lambda one: one.rule)
def test_its_place_is_there_once_and_its_tests_exist(one: BrokenRule) -> None:
    assert (ROOT / one.file).read_text().count(one.old) == 1
    assert one.old != one.new
    assert all((ROOT / test.partition("::")[0]).is_file() for test in one.tests)
