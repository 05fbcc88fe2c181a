"""When a failed node is run again: which errors, how often, after how long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogpt_server.errors import BlockError, BlockInputError, BlockTimeout
from autogpt_server.model.policy import RetryPolicy
from autogpt_server.model.retries import retry_delay

chances = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0, 1e8)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 1000),
    delay_seconds=seconds,
    factor=st.floats(1, 100),
    max_delay_seconds=seconds,
    jitter=st.floats(0, 1),
)


class TooBusy(BlockError):
    pass


@given(policies, st.integers(1, 1000), chances, st.none() | st.floats())
def test_a_delay_stays_within_the_policys_bounds(
    policy: RetryPolicy, tries: int, chance: float, asked: float | None
) -> None:
    delay = retry_delay(policy, tries, BlockError("busy", asked), chance)
    if tries >= policy.attempts:
        assert delay is None
        return
    assert delay is not None
    assert 0 <= delay <= policy.max_delay_seconds
    if asked is not None and asked > 0:
        assert delay >= min(asked, policy.max_delay_seconds)
    least = min(policy.delay_seconds, policy.max_delay_seconds) * (1 - policy.jitter)
    assert delay >= least or math.isclose(delay, least)


@given(policies, st.integers(1, 998), chances)
def test_a_later_delay_is_never_shorter_but_for_chance(policy: RetryPolicy, tries: int, chance: float) -> None:
    policy = policy.model_copy(update={"attempts": 1000})
    first, second = (retry_delay(policy, n, ValueError(), chance) for n in (tries, tries + 1))
    assert first is not None and second is not None
    assert first <= second or math.isclose(first, second)


def test_delays_grow_by_the_factor_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=6, delay_seconds=2, factor=3, max_delay_seconds=50, jitter=0)
    assert [retry_delay(policy, n, ValueError(), 0.9) for n in range(1, 7)] == [2, 6, 18, 50, 50, None]


def test_jitter_takes_off_at_most_its_part() -> None:
    policy = RetryPolicy(attempts=2, delay_seconds=10, jitter=0.25)
    assert retry_delay(policy, 1, ValueError(), 0) == 10
    assert retry_delay(policy, 1, ValueError(), 0.8) == 8


def test_the_wait_that_the_other_side_asks_for_is_kept_up_to_the_longest_delay() -> None:
    policy = RetryPolicy(attempts=2, delay_seconds=1, max_delay_seconds=60)
    assert retry_delay(policy, 1, BlockError("busy", 30), 0.5) == 30
    assert retry_delay(policy, 1, BlockError("busy", 3600), 0.5) == 60
    assert retry_delay(policy, 1, BlockError("busy", 0.1), 0) == 1
    assert retry_delay(policy, 1, BlockError("busy", math.nan), 0) == 1


def test_without_a_policy_a_node_runs_once() -> None:
    assert retry_delay(None, 1, ValueError(), 0) is None


@pytest.mark.parametrize(
    ("errors", "error", "expected"),
    [
        ((), ValueError("any"), True),
        ((), BlockTimeout("late"), True),
        ((), BlockInputError("wrong"), False),
        (("BlockError", "BlockInputError"), BlockInputError("wrong"), False),
        (("ValueError",), UnicodeError(), True),
        (("UnicodeError",), ValueError(), False),
        (("BlockError",), TooBusy("busy"), True),
        (("TooBusy",), TooBusy("busy"), True),
        (("TooBusy",), BlockError("broken"), False),
        (("timeout",), BlockTimeout("late"), True),
        (("timeout",), TimeoutError(), False),
        (("TimeoutError", "timeout"), TimeoutError(), True),
        (("OSError",), ConnectionResetError(), True),
    ],
)
def test_a_policy_names_the_errors_that_are_worth_another_run(
    errors: tuple[str, ...], error: BaseException, expected: bool
) -> None:
    policy = RetryPolicy(attempts=2, errors=errors)
    assert (retry_delay(policy, 1, error, 0) is not None) is expected
