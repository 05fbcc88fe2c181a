"""When a node that failed is run again, and after how long.  Pure: chance is handed in."""

from __future__ import annotations

from autogpt_server.errors import BlockInputError, BlockTimeout
from autogpt_server.model.policy import RetryPolicy

#: What policies call a run that took too long.
TIMEOUT = "timeout"


def retry_delay(policy: RetryPolicy | None, tries: int, error: BaseException, chance: float) -> float | None:
    """Tell how many seconds to wait before a failed node is run again, or None when it is not.

    The delay grows by the policy's factor from run to run, and its jitter takes off a part that chance decides.  A
    longer wait that the other side asks for wins.  Neither makes it longer than the policy's ``max_delay_seconds``.

    Args:
        policy: The node's; None for a node that is run once.
        tries: Runs so far, the one that failed among them.
        error: What ended it.
        chance: A random number from 0 up to 1.
    """
    if policy is None or tries >= policy.attempts or not is_worth_a_retry(policy, error):
        return None
    try:
        delay = policy.delay_seconds * policy.factor ** (tries - 1)
    except OverflowError:
        delay = policy.max_delay_seconds
    delay = min(delay, policy.max_delay_seconds) * (1 - policy.jitter * chance)
    return min(max(delay, _asked_for(error)), policy.max_delay_seconds)


def is_worth_a_retry(policy: RetryPolicy, error: BaseException) -> bool:
    """Tell whether a policy names an error, or one of the classes that it derives from."""
    if isinstance(error, BlockInputError):
        return False
    if not policy.errors:
        return True
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, BlockTimeout):
        names.add(TIMEOUT)
    return not names.isdisjoint(policy.errors)


def _asked_for(error: BaseException) -> float:
    seconds = getattr(error, "retry_after_seconds", None)
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else 0.0
